"""The order, shapes and layers of a network's parameters inside one flat weight vector.

Owns offsets and groupings. Does no I/O and knows no network: see `models` for those.
Shape letters: P parameters of one network (elements), T last timestep, L layers.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError

__all__ = ["DTYPES", "MAX_DIMS", "MAX_TEXT", "Dtype", "Grouping", "Layer", "ParamLayout", "Parameter"]

Dtype = Literal["F16", "BF16", "F32", "F64"]
"""Element types, by their safetensors names."""

MAX_DIMS: Final = 8
"""Most dimensions of a parameter in version 1 of the format."""

MAX_TEXT: Final = 1024
"""Most characters of a name."""

Grouping = Literal["tensor", "module", "all"]
"""What shares one beta: every parameter tensor, all tensors of one module, or everything."""

DTYPES: Final[dict[str, np.dtype[np.generic]]] = {
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter tensor."""

    name: str
    """Dotted name, as `Module.named_parameters()` gives it."""

    shape: tuple[int, ...]
    """Dimensions; `()` is a scalar."""

    dtype: Dtype = "F32"
    """Element type, little-endian."""

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Layer:
    """Parameters that share one beta."""

    name: str
    """The parameter's or module's name, or `all`."""

    parameters: tuple[int, ...]
    """Indices into `ParamLayout.parameters`, ascending."""


@dataclass(frozen=True)
class ParamLayout:
    """Parameters in the order of `Module.parameters()`, and the layers they form.

    Example:
        >>> layout = ParamLayout.of([("fc.weight", (3, 2)), ("fc.bias", (3,))], layers="module")
        >>> layout.size, layout.offsets, [layer.name for layer in layout.layers]
        (9, (0, 6, 9), ['fc'])
    """

    parameters: tuple[Parameter, ...]
    """Every parameter tensor; all share one dtype in version 1 of the format."""

    layers: tuple[Layer, ...]
    """A partition of the parameters."""

    def __post_init__(self) -> None:
        if not self.parameters:
            raise UsageError("a layout needs at least one parameter, got none")
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) != len(names):
            twice, _ = Counter(names).most_common(1)[0]
            raise UsageError(f"parameter names must be unique, `{twice}` appears more than once")
        for parameter in self.parameters:
            if not 1 <= len(parameter.name) <= MAX_TEXT or (
                not parameter.name.isascii() and _lone(parameter.name)
            ):
                raise UsageError(
                    f"parameter names must have 1 to {MAX_TEXT} characters, got {parameter.name[:40]!r}"
                )
            if min(parameter.shape, default=0) < 0:
                raise UsageError(f"parameter `{parameter.name}` has the shape {parameter.shape}")
            if len(parameter.shape) > MAX_DIMS:
                raise UsageError(
                    f"parameter `{parameter.name}` must have at most {MAX_DIMS} dimensions,"
                    f" got {len(parameter.shape)}"
                )
        if self.size == 0:
            raise UsageError("the parameters have no elements")
        if "__metadata__" in names:
            raise UsageError("`__metadata__` cannot name a parameter: safetensors reserves it")
        if len({parameter.dtype for parameter in self.parameters}) > 1:
            raise UsageError("all parameters of a bundle must share one dtype in version 1")
        members = sorted(index for layer in self.layers for index in layer.parameters)
        if members != list(range(len(self.parameters))) or not all(layer.parameters for layer in self.layers):
            raise UsageError("the layers must hold every parameter exactly once")

    @classmethod
    def of(
        cls,
        parameters: Iterable[tuple[str, Sequence[int]]],
        *,
        dtype: Dtype = "F32",
        layers: Grouping = "tensor",
    ) -> ParamLayout:
        """Build a layout from (name, shape) pairs in the order of `Module.parameters()`."""
        if dtype not in DTYPES:
            raise UsageError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}")
        table = tuple(
            Parameter(name, tuple(operator.index(size) for size in shape), dtype)
            for name, shape in parameters
        )
        return cls(table, group([parameter.name for parameter in table], layers))

    @property
    def dtype(self) -> Dtype:
        """Return the element type that all parameters share."""
        return self.parameters[0].dtype

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """Return the element type as numpy's."""
        return DTYPES[self.dtype]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Element offset of each parameter in the flat vector, and P at the end."""
        return (0, *accumulate(parameter.size for parameter in self.parameters))

    @property
    def size(self) -> int:
        """Return P, the number of elements of one network."""
        return self.offsets[-1]

    @property
    def nbytes(self) -> int:
        """Return the bytes of one timestep."""
        return self.size * self.numpy_dtype.itemsize

    def position(self, tensor: int) -> int:
        """Return the byte at which tensor number `tensor` begins in vectors written one after another."""
        vector, parameter = divmod(tensor, len(self.parameters))
        return vector * self.nbytes + self.offsets[parameter] * self.numpy_dtype.itemsize

    @property
    def num_layers(self) -> int:
        """Return L."""
        return len(self.layers)

    @cached_property
    def layer_of_parameter(self) -> tuple[int, ...]:
        """The layer that each parameter belongs to."""
        owner = [0] * len(self.parameters)
        for index, layer in enumerate(self.layers):
            for parameter in layer.parameters:
                owner[parameter] = index
        return tuple(owner)

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """Longest stretches `(start, stop, layer)` of the flat vector within one layer."""
        runs: list[tuple[int, int, int]] = []
        for index, layer in enumerate(self.layer_of_parameter):
            start, stop = self.offsets[index], self.offsets[index + 1]
            if runs and runs[-1][2] == layer:
                runs[-1] = (runs[-1][0], stop, layer)
            else:
                runs.append((start, stop, layer))
        return tuple(runs)

    def split(self, flat: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Return a view of `flat` `(P,)` per parameter, in its own shape."""
        if flat.shape != (self.size,):
            raise UsageError(f"a weight vector must have shape ({self.size},), got {flat.shape}")
        return {
            parameter.name: flat[start:stop].reshape(parameter.shape)
            for parameter, start, stop in zip(self.parameters, self.offsets, self.offsets[1:], strict=False)
        }

    def cast(self, dtype: Dtype) -> ParamLayout:
        """Return the same parameters and layers with another element type."""
        parameters = tuple(Parameter(p.name, p.shape, dtype) for p in self.parameters)
        return ParamLayout(parameters, self.layers)

    def regroup(self, layers: Grouping) -> ParamLayout:
        """Return the same parameters with another choice of what shares a beta."""
        return ParamLayout(self.parameters, group([p.name for p in self.parameters], layers))


def _lone(text: str) -> bool:
    """Return whether a text holds half of a surrogate pair, which UTF-8 cannot."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def group(names: Sequence[str], by: Grouping) -> tuple[Layer, ...]:
    """Partition parameters into layers, in order of first appearance.

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
