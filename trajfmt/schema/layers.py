"""Layers: groups of parameters that share one beta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trajfmt.errors import UsageError

__all__ = ["Grouping", "Layer", "group"]

Grouping = Literal["tensor", "module", "all"]
"""Which parameters form a layer and share one beta: each tensor alone, those of a module, or all of them."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A group of parameters that share one beta."""

    name: str
    """Name of the parameter or the module, or `all`."""

    parameters: tuple[int, ...]
    """Indices into `ParamLayout.parameters`, in ascending order."""


def group(names: Sequence[str], by: Grouping) -> tuple[Layer, ...]:
    """Group parameters into layers, in order of first appearance.

    Args:
        names: dotted names of the parameters.
        by: which parameters share a layer.

    Raises:
        UsageError: `by` is not a known grouping.

    Example:
        >>> [layer.parameters for layer in group(["a.w", "b.w", "a.b"], "module")]
        [(0, 2), (1,)]
    """
    if by == "all":
        return (Layer("all", tuple(range(len(names)))),)
    if by == "tensor":
        return tuple(Layer(name, (index,)) for index, name in enumerate(names))
    if by != "module":
        raise UsageError(f"`layers` must be tensor, module or all, got {by!r}")
    modules: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        modules.setdefault(name.rpartition(".")[0] or name, []).append(index)
    return tuple(Layer(name, tuple(members)) for name, members in modules.items())
