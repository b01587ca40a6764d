"""What a conversion asks and says of a source that is convexified already."""

from __future__ import annotations

import msgspec

from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.encoding import Encoding
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.errors import UsageError, display
from trajfmt.schema.layout import Grouping
from trajfmt.schema.provenance import Provenance
from trajfmt.sources.base.collection import Collection
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.bundles import BundlePart
from trajfmt.sources.convexified.mct_authors import PairPart
from trajfmt.sources.convexified.mct_betas import PairTrajectory
from trajfmt.trajectory.source import Convexified

__all__ = ["check_convexified", "keeps_knots", "remarks_on", "with_origin"]


def remarks_on(trajectory: ForeignTrajectory, encoding: Encoding) -> list[str]:
    """Return remarks on what is not known, or not stored, of a convexified trajectory."""
    if not isinstance(trajectory, Convexified):
        return []
    if encoding.takes_convexified:
        if not isinstance(trajectory, PairTrajectory) or trajectory.smoothed or len(trajectory.knots) == 2:
            return []
        return [
            "whether the knots are averages of their neighbours is unknown: the MCT authors' code writes"
            " averages, but the files do not say so; pass --smooth if they are"
        ]
    notes = ["the source is convexified: its knots, betas and step norms are not stored"]
    if len(trajectory.knots) < trajectory.timesteps:
        notes[0] += ", and timesteps between the knots are computed (`convexified` in the recipe says so)"
        if trajectory.buffers(0):
            notes.append("between two knots, the module buffers are those of the first of them")
    return notes


def keeps_knots(trajectory: ForeignTrajectory, encoding: Encoding) -> bool:
    """Return whether the knots in a bundle of an encoding are those of a convexified trajectory."""
    return encoding.takes_convexified and isinstance(trajectory, Convexified)


def with_origin(provenance: Provenance, trajectory: ForeignTrajectory, encoding: Encoding) -> Provenance:
    """Return the provenance of a trajectory in a bundle of an encoding.

    If timesteps become weights that were computed from a convexified trajectory, the recipe says so, because
    nothing else would tell them from those of a training.
    """
    if encoding.takes_convexified or not isinstance(trajectory, Convexified):
        return provenance
    if len(trajectory.knots) == trajectory.timesteps:
        return provenance
    recipe = {**(provenance.recipe or {}), "convexified": True}
    return msgspec.structs.replace(provenance, recipe=recipe)


def check_convexified(collection: Collection, options: ConvertOptions) -> None:
    """Refuse options that need waypoints, and a conversion that would only copy a bundle.

    Raises:
        UsageError: the options ask for one of these.
    """
    smooth = options.smooth and not all(isinstance(part, PairPart) for part in collection.parts)
    waypoints = options.knots or options.place or options.average > 1 or smooth or options.gram
    if waypoints or _other_layers(collection, options.layers):
        raise UsageError(
            f"{display(collection.folder)}: convexified already, so it has no waypoints;"
            " omit knots, smoothing, averages, Gram matrix and layers"
        )
    stated = (options.dtype, options.dataset, options.model, options.preprocessing)
    changes = options.append or options.shard_bytes != SHARD_BYTES or options.timesteps != (None, None)
    if (
        not changes
        and stated == (None,) * 4
        and any(isinstance(part, BundlePart) for part in collection.parts)
    ):
        raise UsageError(
            f"{display(collection.folder)}: convexified already, and no option changes it;"
            " copy the folder instead"
        )


def _other_layers(collection: Collection, layers: Grouping | None) -> bool:
    """Return whether other layers are asked for than those of a convexified source."""
    if layers is None or collection.layout is None:  # every tensor has its own betas
        return layers not in (None, "tensor")
    return collection.layout.regroup(layers).layers != collection.layout.layers
