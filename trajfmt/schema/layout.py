"""The order, shapes and layers of a network's parameters in a weight vector.

A parameter layout is independent of any particular network; `models` recognises networks by their shapes.
Letters in shapes: P elements of a weight vector, T last timestep, L layers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, zip_longest
from typing import Final, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError, counted, display
from trajfmt.notebooks import card
from trajfmt.schema.arguments import whole, wholes
from trajfmt.schema.layers import Grouping, Layer, group

__all__ = ["DTYPES", "MAX_DIMS", "MAX_TEXT", "Dtype", "Grouping", "Layer", "ParamLayout", "Parameter"]

Dtype = Literal["F16", "BF16", "F32", "F64"]
"""Element types by their names in safetensors."""

MAX_DIMS: Final = 8
"""Largest number of dimensions of a parameter in version 1 of the format."""

MAX_TEXT: Final = 1024
"""Largest length of a name in characters."""

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
    """Dotted name, as in `Module.named_parameters()`."""

    shape: tuple[int, ...]
    """Dimensions; `()` for a scalar."""

    dtype: Dtype = "F32"
    """Element type, little-endian."""

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ParamLayout:
    """The parameters of a network in the order of `Module.parameters()`, and the layers that they form.

    Raises:
        UsageError: the parameters or layers break a rule of the format, such as unique names.

    Example:
        >>> layout = ParamLayout.of([("fc.weight", (3, 2)), ("fc.bias", (3,))], layers="module")
        >>> layout.size, layout.offsets, [layer.name for layer in layout.layers]
        (9, (0, 6, 9), ['fc'])
    """

    parameters: tuple[Parameter, ...]
    """All parameter tensors. They have the same dtype in version 1 of the format."""

    layers: tuple[Layer, ...]
    """The layers. Every parameter belongs to exactly one of them."""

    def __post_init__(self) -> None:
        if not self.parameters:
            raise UsageError("a parameter layout needs at least one parameter, got none")
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) != len(names):
            twice, _ = Counter(names).most_common(1)[0]
            raise UsageError(f"parameter names must be unique, `{twice}` appears more than once")
        for parameter in self.parameters:
            if (
                not isinstance(parameter.name, str)
                or not 1 <= len(parameter.name) <= MAX_TEXT
                or (not parameter.name.isascii() and _has_lone_surrogate(parameter.name))
            ):
                raise UsageError(
                    f"parameter names must have 1 to {MAX_TEXT} characters, got {str(parameter.name)[:40]!r}"
                )
            if min(parameter.shape, default=0) < 0:
                raise UsageError(f"parameter `{parameter.name}` has a negative size in {parameter.shape}")
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
            raise UsageError("every parameter must belong to exactly one layer")

    @classmethod
    def of(
        cls,
        parameters: Iterable[tuple[str, Sequence[int]]],
        *,
        dtype: Dtype = "F32",
        layers: Grouping = "tensor",
    ) -> ParamLayout:
        """Build a parameter layout.

        Args:
            parameters: names and shapes, in the order of `Module.parameters()`.
            dtype: element type of all parameters.
            layers: which parameters share one beta.

        Raises:
            UsageError: the parameters break a rule of the format.
        """
        if dtype not in DTYPES:
            raise UsageError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}")
        table = tuple(Parameter(name, wholes("shape", shape), dtype) for name, shape in parameters)
        return cls(table, group([parameter.name for parameter in table], layers))

    @property
    def dtype(self) -> Dtype:
        """Return the element type of all parameters."""
        return self.parameters[0].dtype

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """Return the element type as a little-endian numpy dtype."""
        return DTYPES[self.dtype]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Offset of each parameter in the weight vector, in elements, followed by P."""
        return (0, *accumulate(parameter.size for parameter in self.parameters))

    @property
    def size(self) -> int:
        """Return P, the number of elements of a weight vector."""
        return self.offsets[-1]

    @property
    def nbytes(self) -> int:
        """Return the size of one timestep in bytes."""
        return self.size * self.numpy_dtype.itemsize

    def position(self, tensor: int) -> int:
        """Return the byte offset of a tensor in weight vectors that are stored one after another.

        Args:
            tensor: number of the tensor, counted over all vectors.
        """
        vector, parameter = divmod(tensor, len(self.parameters))
        return vector * self.nbytes + self.offsets[parameter] * self.numpy_dtype.itemsize

    @property
    def num_layers(self) -> int:
        """Return L, the number of layers."""
        return len(self.layers)

    @cached_property
    def layer_of_parameter(self) -> tuple[int, ...]:
        """Number of the layer that each parameter belongs to."""
        owner = [0] * len(self.parameters)
        for index, layer in enumerate(self.layers):
            for parameter in layer.parameters:
                owner[parameter] = index
        return tuple(owner)

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """Longest ranges of the weight vector within one layer, as `(start, stop, layer)` in elements."""
        runs: list[tuple[int, int, int]] = []
        for index, layer in enumerate(self.layer_of_parameter):
            start, stop = self.offsets[index], self.offsets[index + 1]
            if runs and runs[-1][2] == layer:
                runs[-1] = (runs[-1][0], stop, layer)
            else:
                runs.append((start, stop, layer))
        return tuple(runs)

    def split(self, flat: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Split a weight vector `(P,)` into views of the parameters in their shapes, by name.

        Raises:
            UsageError: the vector does not have shape `(P,)`.
        """
        if flat.shape != (self.size,):
            raise UsageError(f"a weight vector must have shape ({self.size},), got {flat.shape}")
        return {
            parameter.name: flat[start:stop].reshape(parameter.shape)
            for parameter, start, stop in zip(self.parameters, self.offsets, self.offsets[1:], strict=False)
        }

    def check_range(self, start: int, stop: int) -> None:
        """Require that elements `start:stop` are elements of the weight vector `(P,)`.

        Raises:
            UsageError: they are not. Unlike numpy, this does not count from the end or shorten the range.
            TypeError: a bound is no whole number.
        """
        if not 0 <= whole("start", start) <= whole("stop", stop) <= self.size:
            raise UsageError(f"elements must lie in [0, {self.size}], got {start}:{stop}")

    def check_parameters(self, other: ParamLayout) -> None:
        """Require that another layout has the same parameters in the same order, of whatever type.

        Raises:
            UsageError: a name or a shape differs, or the order.
        """
        ours, theirs = ([(p.name, p.shape) for p in layout.parameters] for layout in (self, other))
        for number, (expected, found) in enumerate(zip_longest(ours, theirs)):
            if expected != found:
                raise UsageError(
                    f"parameter {number} of the trajectory must be {_named(expected)}, got {_named(found)};"
                    " its parameters must have the names, shapes and order of the bundle"
                )

    def cast(self, dtype: Dtype) -> ParamLayout:
        """Return a parameter layout with the same parameters and layers and another element type."""
        parameters = tuple(Parameter(p.name, p.shape, dtype) for p in self.parameters)
        return ParamLayout(parameters, self.layers)

    def __repr__(self) -> str:
        size = f"{counted(len(self.parameters), 'parameter')}, {counted(self.size, 'weight')} {self.dtype}"
        return f"<trajfmt.ParamLayout: {size}, {counted(self.num_layers, 'layer')}>"

    def _repr_html_(self) -> str:
        owners = zip(self.parameters[:100], self.layer_of_parameter, strict=False)
        rows = [(p.name, p.shape, f"{p.size:,}", self.layers[layer].name) for p, layer in owners]
        count = len(self.parameters)
        facts = [("weights", f"{self.size:,} {self.dtype}"), ("layers", f"{self.num_layers:,}")]
        columns, title = (
            ("parameter", "shape", "weights", "layer"),
            f"Layout of {counted(count, 'parameter')}",
        )
        return card(title, facts, columns=columns, rows=rows, total=count)

    def regroup(self, layers: Grouping) -> ParamLayout:
        """Return a parameter layout with the same parameters, grouped into layers anew."""
        return ParamLayout(self.parameters, group([p.name for p in self.parameters], layers))


def _has_lone_surrogate(text: str) -> bool:
    """Return whether a text contains half of a surrogate pair, which UTF-8 cannot represent."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _named(parameter: tuple[str, tuple[int, ...]] | None) -> str:
    return "absent" if parameter is None else f"`{display(parameter[0])}` {parameter[1]}"
