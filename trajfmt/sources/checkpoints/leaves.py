"""The values in nested dictionaries, such as the content of a checkpoint."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from trajfmt.errors import SourceError, display
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.torchfile.stored import is_tensor

__all__ = ["Leaf", "held", "holds_tensors", "leaves_of"]

_DEPTH: Final = 12
_SHOWN: Final = 6
_MOST_KEYS: Final = 1_000_000
"""Keys of nested dictionaries that are looked at."""


class Leaf(NamedTuple):
    """A value in nested dictionaries that is no dictionary itself."""

    keys: tuple[str, ...]
    """The keys on the way to it."""

    value: Any

    @property
    def place(self) -> str:
        """The name for a message about values that are not read: one for each dictionary of tensors."""
        if is_tensor(self.value):
            return ".".join(self.keys[:-1] or self.keys)
        return ".".join(self.keys) if holds_tensors(self.value) else self.keys[0]

    @property
    def elements(self) -> int:
        """The number of elements of a tensor. Scalars do not count: they are counters and scores."""
        return math.prod(self.value.shape) if is_tensor(self.value) and len(self.value.shape) else 0

    def below(self, key: tuple[str, ...]) -> str | None:
        """Return the rest of the keys after `key`, with dots between them, or None if it is elsewhere."""
        return ".".join(self.keys[len(key) :]) if self.keys[: len(key)] == key else None


def leaves_of(content: Any, path: Path) -> Iterator[Leaf]:
    """Yield the values of nested dictionaries whose keys are texts. Others are leaves themselves."""
    left = _MOST_KEYS

    def walk(value: Any, keys: tuple[str, ...]) -> Iterator[Leaf]:
        nonlocal left
        if not isinstance(value, Mapping) and callable(getattr(value, "state_dict", None)):
            try:
                value = value.state_dict()  # a whole network, from a pickle that the user trusts
            except Exception as exc:  # code of the file
                where = display(".".join(keys) or "the content")
                message = f"`state_dict()` of {where} fails: {display(exc)}"
                raise SourceError("nothing_to_convert", message, path=path) from exc
        inner = isinstance(value, Mapping) and len(keys) < _DEPTH
        if inner and all(isinstance(name, str) for name in value):
            for name, item in value.items():
                left -= 1
                if left < 0:
                    message = f"has more than {_MOST_KEYS:,} keys, which no state dict has"
                    raise SourceError("nothing_to_convert", message, path=path)
                yield from walk(item, (*keys, name))
        elif keys:
            yield Leaf(keys, value)

    yield from walk(content, ())


def held(content: Any) -> str:
    """Return what a file without a state dict holds, for a message."""
    if isinstance(content, Mapping):
        return shortened([str(key)[:40] for key in content], _SHOWN) or "nothing"
    return "images or other numbers" if hasattr(content, "shape") else type(content).__name__


def holds_tensors(value: Any, depth: int = 8) -> bool:
    """Return whether a value is a tensor, or a list or the like with tensors or arrays of numpy in it."""
    if is_tensor(value) or type(value).__name__ == "ndarray":
        return True
    items = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    )
    return depth > 0 and any(holds_tensors(item, depth - 1) for item in itertools.islice(items, 100_000))
