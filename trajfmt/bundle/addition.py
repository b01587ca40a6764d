"""What can be added to a bundle."""

from __future__ import annotations

from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.full.reader import FullTrajectory
from trajfmt.errors import UsageError
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory.recorder import Recorded

__all__ = ["require_addable"]


def require_addable(source: object, layout: ParamLayout) -> None:
    """Require a trajectory that can be written to a bundle.

    A trajectory of another bundle is not: that bundle holds facts about it, such as the data set and what its
    timesteps count, which would be lost or replaced.

    Args:
        source: the trajectory.
        layout: the parameter layout of the bundle.

    Raises:
        UsageError: its parameters are not those of the bundle, it was recorded with other layers, or it
            belongs to a bundle.
        TypeError: it is no trajectory.
    """
    if isinstance(source, (ConvexTrajectory, FullTrajectory)):
        raise UsageError(
            "a trajectory of a bundle must be added with its facts, by trajfmt.convert.convert(path,"
            " destination, ConvertOptions(append=True)); its weights alone are"
            " ArrayTrajectory(np.stack(list(trajectory.rows())), trajectory.layout)"
        )
    readable = hasattr(source, "timesteps") and callable(getattr(source, "read", None))
    if not readable and not isinstance(source, Recorded):
        raise TypeError(
            "a trajectory must have `timesteps` and a method `read`, such as an ArrayTrajectory, got"
            f" {type(source).__name__}"
        )
    if isinstance(given := getattr(source, "layout", None), ParamLayout):
        layout.check_parameters(given)
    if isinstance(source, Recorded):
        ours, theirs = ((each.dtype, each.layers) for each in (source.layout, layout))
        if ours != theirs:
            raise UsageError(
                f"the trajectory was recorded with {len(ours[1])} layers of {ours[0]}, the bundle has"
                f" {len(theirs[1])} of {theirs[0]}; record it with the layout of the bundle"
            )
