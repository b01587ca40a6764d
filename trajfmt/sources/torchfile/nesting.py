"""Checks that an unpickled file is a replay buffer, and that its timesteps are a trajectory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import CorruptError, SourceError, aliased, display
from trajfmt.sources.base.trajectories import Shapes
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.torchfile.placement import HarmfulError
from trajfmt.sources.torchfile.stored import is_tensor

__all__ = ["check_nesting", "check_size", "check_timesteps"]

_DEEPEST: Final = 1000
"""Containers inside each other. Python's pickler calls itself for each and cannot write more."""

_MOST_OTHERS: Final = 1000
"""Items of a buffer that are no lists. Each would be reported as a trajectory that cannot be converted."""

_SHOWN: Final = 6
"""Timesteps that a remark lists."""

_FEW: Final = 2**20
"""Items that are counted in a moment, whatever the file."""


def check_size(content: Any, nbytes: int) -> None:
    """Require that containers hold no more items than a pickle has bytes, each counted wherever it is held.

    A pickle may put the same list into another many times, and that one again. Without this limit a small
    file could take days to look through.

    Args:
        content: the value of the pickle.
        nbytes: the bytes of the pickle. Fewer than 2^20 count as 2^20.

    Raises:
        HarmfulError: there are more, or too many inside each other.
    """
    left = max(nbytes, _FEW)
    open_: list[Iterator[Any]] = [iter((content,))]
    while open_:
        for item in open_[-1]:
            left -= 1
            if left < 0:
                raise HarmfulError("containers that hold each other more often than its length allows")
            if len(open_) > _DEEPEST:
                raise HarmfulError(f"more than {_DEEPEST} containers inside each other")
            if type(item) in (list, tuple, dict):
                open_.append(iter(item.values() if type(item) is dict else item))
                break
        else:
            open_.pop()


def check_nesting(buffer: Any, path: Path) -> None:
    """Require a list of trajectories. The error describes other files that are common in the field.

    Raises:
        CorruptError: the value is something else.
    """
    found = _other_kind(buffer)
    if found is not None:
        raise CorruptError(
            "source_invalid", f"a buffer is a list of trajectories, this holds {found}", path=path
        )


def _other_kind(buffer: Any) -> str | None:
    """Return a description of a value that is no list of trajectories, or None."""
    if is_tensor(buffer):
        return _images([buffer]) or f"one tensor of shape {tuple(buffer.shape)}"
    if isinstance(buffer, Mapping):
        tensors = [value for value in buffer.values() if is_tensor(value)]
        return _images(tensors) or (
            "a dict: a checkpoint is one timestep; give the folder of all of them (--from checkpoints)"
        )
    if not isinstance(buffer, (list, tuple)):
        return type(buffer).__name__
    if buffer and all(map(is_tensor, buffer)):
        return _images(buffer) or "a list of tensors: one timestep, or parameters of one network"
    one_level_short = buffer and all(
        isinstance(step, (list, tuple)) and step and all(map(is_tensor, step)) for step in buffer
    )
    if one_level_short:
        return "a list of lists of tensors: one trajectory; save it in a list of its own"
    others = sum(not isinstance(steps, (list, tuple)) for steps in buffer)
    return f"{others} things that are no trajectories" if others > _MOST_OTHERS else None


def _images(tensors: Any) -> str | None:
    """Return a description if the tensors are images `(N, C, H, W)` or `(C, H, W)` with 1 or 3 channels."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    pictures = [
        shape for shape in shapes if len(shape) in (3, 4) and shape[-3] in (1, 3) and min(shape[-2:]) > 7
    ]
    if not pictures or len(pictures) < len([shape for shape in shapes if len(shape) > 2]):
        return None
    return f"images of shape {pictures[0]}, not weights: `mct evaluate` reads distilled sets"


def check_timesteps(
    shapes: Sequence[Shapes], places: Sequence[Sequence[Hashable]], path: Path
) -> tuple[str, ...]:
    """Refuse trajectories without timesteps, of mixed shapes, or whose timesteps are the same memory.

    The last is what MTT's own script saves when it trains on a CPU.

    Args:
        shapes: the shapes of the tensors, for each timestep.
        places: the places of the tensors, for each timestep. Equal places are the same memory.
        path: the file's name in error messages.

    Returns:
        A remark if some timesteps are the same memory, and others are not.

    Raises:
        CorruptError: a timestep has no tensors.
        SourceError: there are no timesteps, they differ in shapes, or all are the same memory.
    """
    if not shapes:
        raise SourceError("too_few_timesteps", "has no timesteps", path=path)
    if not shapes[0]:
        raise CorruptError("source_invalid", "a timestep has no tensors", path=path)
    for t, found in enumerate(shapes):
        if found != shapes[0]:
            raise SourceError(
                "mixed_architectures", f"timestep {t} has other shapes than timestep 0", path=path
            )
    if len(shapes) > 1 and all(tuple(step) == tuple(places[0]) for step in places):
        raise aliased(len(shapes), path)
    same: dict[tuple[Hashable, ...], list[int]] = {}
    for t, step in enumerate(places):
        same.setdefault(tuple(step), []).append(t)
    repeated = [times for times in same.values() if len(times) > 1]
    if not repeated:
        return ()
    shown = "; ".join(shortened(times, _SHOWN) for times in repeated[:_SHOWN])
    return (
        f"{display(path.name)}: timesteps {shown} are the same memory in the file, and thus the same"
        " weights; if they were saved without `.clone()`, only the last of them is right",
    )
