"""What a conversion has chosen of the path, as facts of the recipe: its end, and how its knots were found.

These facts say what the weights of a bundle are. They stay true of what is made of the bundle later, until
another choice replaces them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from numpy.typing import NDArray

from trajfmt.convert.options import ConvertOptions
from trajfmt.errors import UsageError, display
from trajfmt.schema.provenance import Provenance

__all__ = ["remark_on_means", "require_epochs", "with_choices"]

_CUT: Final = ("cut_for", "cut_after")
_PLACED: Final = "knots_placed"


def with_choices(provenance: Provenance, options: ConvertOptions, *, kept: bool = False) -> Provenance:
    """Return a provenance whose recipe says what the options have chosen.

    Args:
        provenance: facts about the source.
        options: the options of the conversion.
        kept: whether the knots are those of a convexified source.

    Raises:
        UsageError: means are asked for of timesteps that were computed from convexified trajectories.

    Example:
        >>> options = ConvertOptions(timesteps=(0, 9), cut_for="mct-cifar10-zca-ipc1")
        >>> with_choices(Provenance(recipe={"seed": 1}), options).recipe
        {'seed': 1, 'cut_for': 'mct-cifar10-zca-ipc1', 'cut_after': 8}
    """
    recipe = dict(provenance.recipe or {})
    if options.average > 1 and recipe.get("convexified"):
        raise UsageError(
            "the timesteps of the source were computed from convexified trajectories, so their means say"
            " nothing about the training; omit `average`"
        )
    first, after = options.timesteps
    if options.timesteps != (None, None):  # an earlier cut is not where the trajectories end any more
        for key in _CUT:
            recipe.pop(key, None)
    if options.cut_for is not None and after is not None:
        recipe |= {"cut_for": options.cut_for, "cut_after": after - 1 - (first or 0)}
    if not (kept or recipe.get("convexified")):
        recipe.pop(_PLACED, None)  # of a bundle that keeps all timesteps
    if options.placed:
        recipe[_PLACED] = True
    if recipe == (provenance.recipe or {}):
        return provenance
    return msgspec.structs.replace(provenance, recipe=recipe)


def require_epochs(provenance: Provenance, numbers: Sequence[int] | None) -> None:
    """Require that timestep t of a source is the network after t epochs, which is what presets count.

    Args:
        provenance: facts about the source. If nothing says what a timestep is, nothing is required.
        numbers: those of the timesteps, if they have numbers of their own.

    Raises:
        UsageError: timesteps are known to be something else.
    """
    unit, first = provenance.timestep, provenance.first_timestep or 0
    plain = unit is None or (unit.kind == "epoch" and unit.every == 1)
    even = first == 0 if numbers is None else list(numbers) == list(range(len(numbers)))
    if not (plain and even):
        shown = f"{numbers[0]}, {numbers[1]}, …" if numbers and len(numbers) > 1 else f"from {first} on"
        what = f"{unit.kind}s, {unit.every} each," if unit and not plain else "numbers"
        raise UsageError(
            "presets count epochs from the initialisation, but the timesteps of the source are"
            f" {what} {shown}; give --timesteps instead"
        )


def remark_on_means(options: ConvertOptions, buffers: Mapping[str, NDArray[Any]]) -> str | None:
    """Return a remark if knots become means of weights, while the running statistics beside them do not.

    Args:
        options: the options of the conversion.
        buffers: the module buffers of a timestep, by name.
    """
    names = [name for name, values in buffers.items() if values.dtype.kind not in "biu"]
    if not names or not (options.average > 1 or options.smooth):
        return None
    return (
        f"the weights at knots are means, but module buffers such as `{display(names[0])}` are those of one"
        " timestep, so that running statistics do not fit exactly; --buffers interpolate averages them, too"
    )
