"""What the names in a pickle of torch stand for, and the value of the pickle in a zip file.

A tensor becomes its place in the file. Names that torch writes for other things than weights stand for values
that are not needed. A pickle with any other name is `Unusual`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import CorruptError, TrajfmtError
from trajfmt.sources.torchfile.instructions import FAULTS, Inert, Memo, Names, execute, is_key
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.placement import (
    DTYPES,
    STORAGES,
    UNTYPED,
    HarmfulError,
    Name,
    Places,
    Storage,
    Tensor,
    sizes,
)

__all__ = ["NAMES", "OtherTensor", "call", "harmful", "run"]

_TENSOR: Final = "torch._utils _rebuild_tensor_v2"
_TENSORS: Final = ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v3")
_PARAMETERS: Final = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
_SUBCLASS: Final = "torch._tensor _rebuild_from_type_v2"
_CLASSES: Final = ("torch Tensor", "torch._tensor Tensor", "torch.nn.parameter Parameter")
_SIZE: Final = "torch Size"
_ENCODE: Final = "_codecs encode"
_OTHERS: Final = {
    "torch._utils _rebuild_qtensor": "quantised",
    "torch._utils _rebuild_sparse_tensor": "sparse",
    "torch._utils _rebuild_meta_tensor_no_storage": "without numbers (on the device `meta`)",
}
_QUANTISED: Final = {
    f"torch {name}"
    for name in ("QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage")
}
_SCHEMES: Final = {
    f"torch {name}"
    for name in (
        *("per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric"),
        *("per_channel_affine_float_qparams", "qint8", "quint8", "qint32"),
    )
}
_BUILTIN: Final[dict[str, tuple[tuple[type, ...], ...]]] = {
    "bytes": ((),),
    "bytearray": ((), (Inert,)),
    "set": ((), (list,)),
    "complex": ((float, float),),
}
_INERT: Final[dict[str, tuple[tuple[type, ...], ...]]] = {
    "torch.serialization _get_layout": ((str,),),
    "torch device": ((str,), (str, int)),
    _ENCODE: ((str, str),),
    "numpy dtype": ((str, bool, bool),),
    "numpy.core.multiarray scalar": ((Inert, Inert),),
    "numpy._core.multiarray scalar": ((Inert, Inert),),
    **{f"{module} {name}": _BUILTIN[name] for name in _BUILTIN for module in ("builtins", "__builtin__")},
}
"""Names of values that are no weights, with the types of the arguments that Python and torch write."""

_ORDERED: Final = "collections OrderedDict"

NAMES: Final = {
    *(_TENSOR, *_TENSORS, *_PARAMETERS, _SUBCLASS, *_CLASSES, _SIZE, _ORDERED),
    *(*_OTHERS, *_QUANTISED, *_SCHEMES, *_INERT, *DTYPES, *STORAGES, UNTYPED),
}
"""The names that are known."""


class OtherTensor:
    """A tensor that is not made of plain numbers. It is not read."""

    shape: tuple[int, ...] = ()

    def __init__(self, kind: str) -> None:
        self.kind = kind
        """What it is instead, such as `quantised`."""


def call(names: Names, name: Name, arguments: tuple[Any, ...]) -> Any:
    """Return the result of a call: a tensor, plain sizes, an `OtherTensor`, or an `Inert` value.

    Args:
        names: what makes tensors.
        name: one of `NAMES`.
        arguments: the arguments in the pickle.

    Raises:
        Unusual: the name is not called by torch's pickles, or not with such arguments.
    """
    if name in _TENSORS:
        return names.tensor(arguments if name == _TENSORS[1] else (*arguments, False, None))
    if name in _PARAMETERS:
        _spend(names, _attributes(arguments[3]) if len(arguments) > 3 else 0)
        return arguments[0]
    if name == _SIZE:
        return sizes(arguments[0])
    if name == _ORDERED:  # with items, as Python 2 wrote it
        (pairs,) = arguments
        _spend(names, len(pairs))
        if not all(type(pair) is list and len(pair) == 2 and is_key(pair[0]) for pair in pairs):
            raise Unusual
        return dict(pairs)
    if name in _OTHERS:
        return OtherTensor(_OTHERS[name])
    if name == _SUBCLASS:
        function, kind, inner, state = arguments
        _spend(names, _attributes(state))
        if kind not in _CLASSES or not isinstance(function, Name) or function == _SUBCLASS:
            raise Unusual
        return names.tensor(inner) if function == _TENSOR else call(names, function, inner)
    if tuple(map(type, arguments)) not in _INERT.get(name, ()):
        raise Unusual
    source = arguments[0] if arguments else ""
    if name == _ENCODE and arguments[1] not in ("latin1", "latin-1"):
        raise Unusual  # some encodings take long
    size = source.size if isinstance(source, Inert) else len(source) if isinstance(source, (list, str)) else 0
    _spend(names, size)
    if type(source) is list and not all(map(is_key, source)):
        raise Unusual  # a set of what would take for ever to hash
    return Inert(name, size)


def _attributes(state: Any) -> int:
    """Return the number of attributes in the state of a tensor: a dictionary, or two of them with slots."""
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    if not all(part is None or type(part) is dict for part in parts):
        raise Unusual
    return sum(map(len, filter(None, parts)))


def _spend(names: Names, size: int) -> None:
    """Count the bytes or items that a call makes: the same text or list may be given to many."""
    names.left -= size
    if names.left < 0:
        raise HarmfulError("more values made by calls than its length allows")


class _Reading:
    """The names of a file that is read in place."""

    def __init__(self, places: Places, tensor: Callable[[Tensor], Any], left: int) -> None:
        self._places, self._tensor, self.left = places, tensor, left

    def known(self, name: Name) -> Name:
        if name not in NAMES:
            raise Unusual
        return name

    def storage(self, description: Any) -> Any:
        return Storage(*description)

    def tensor(self, arguments: tuple[Any, ...]) -> Any:
        return self._tensor(self._places.find(arguments))

    def call(self, name: Name, arguments: tuple[Any, ...]) -> Any:
        return call(self, name, arguments)


def run(
    members: Members,
    memo: Memo,
    *,
    tensor: Callable[[Tensor], Any],
    listed: Callable[[list[Any]], list[Any]] = lambda items: items,
) -> Any:
    """Return the value of a pickle: lists, tuples, dictionaries, plain values, and results of `tensor`.

    Args:
        members: the directory of the file.
        memo: an empty memo.
        tensor: called with the place of each tensor. Its result stands for the tensor.
        listed: called with the items that are appended to a list. Its result is appended instead.

    Raises:
        Unusual: the pickle contains other things, or is damaged.
        CorruptError: the pickle does not have its CRC-32, or would take all memory or endless time.
    """
    begin, end = members.pickle()
    if not members.little:
        raise Unusual
    try:
        names = _Reading(Places(members, len(members.file)), tensor, end - begin)
        code = members.file.read(begin, end - begin)
        return execute(code, 0, len(code), memo, names, listed)[0]
    except HarmfulError as exc:
        raise harmful(exc, members.path) from None
    except TrajfmtError:
        raise
    except FAULTS as exc:
        raise Unusual from exc


def harmful(exc: HarmfulError, path: Path) -> CorruptError:
    """Return the error for a pickle that would crash or block its reader."""
    return CorruptError("source_invalid", f"its pickle has {exc}, which torch.save never writes", path=path)
