"""The state of a distillation between two outer steps, and its file.

A state holds everything that the next step depends on, and the best images so far. A run that continues
from the file therefore gives the same bits as one that never stopped. States are immutable: a step makes a
new one, so that an interruption at any moment leaves a whole state.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import torch
from torch import Tensor

from mct.errors import CorruptError, ResultError
from mct.learned.value import AVERAGE, IMAGES, NORM, RATE, Memory, Name, Value
from mct.results.synthetic import SyntheticDataset, from_tensors
from mct.runtime import tensorfile

_KIND = "distillation state"
_BEST = "best."
"""Prefix of the names of the best images' tensors."""

_UPDATE = "update."
"""Prefix of the names of what the updates remember, as in `update.labels.velocity`."""

_FORMER: Final[Mapping[tuple[Name, str], str]] = {
    (IMAGES, "velocity"): "image_velocity",
    (RATE, "velocity"): "rate_velocity",
}
"""Names of two parts, which are older than the prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state after some number of outer steps."""

    synthetic: SyntheticDataset
    """The learned values; its origin counts the outer steps."""

    memory: Mapping[Name, Memory]
    """For each learned value, what its update remembers, such as the velocity of the images."""

    random: Tensor
    """uint8: state of the generator of trajectories, starts, batches and augmentation."""

    best: SyntheticDataset | None = None
    """The images with the best evaluation so far; None before the first."""

    refused: int = 0
    """Number of outer steps that changed nothing, because every sample was left out."""

    kept_bytes: int | None = None
    """Bytes of activations that the last inner loop kept, since rounding may depend on it. None if `keep_mb`
    was given, because a resumed run is then given it, too."""

    @property
    def step(self) -> int:
        """Number of outer steps that were done."""
        return self.synthetic.run.outer_step

    @property
    def result(self) -> SyntheticDataset:
        """The synthetic dataset that results: averages in place of the values that have one."""
        averages = {name: kept[AVERAGE] for name, kept in self.memory.items() if AVERAGE in kept}
        return self.synthetic.learned(averages) if averages else self.synthetic


def save(path: Path, state: State) -> None:
    """Write a state, atomically."""
    tensors = state.synthetic.tensors() | {"random": state.random}
    for name, memory in state.memory.items():
        for part, value in memory.items():
            dtype = None if isinstance(value, Tensor) else torch.float64
            # A copy, because safetensors does not write the same memory twice.
            tensors[_stored(name, part)] = torch.as_tensor(value, dtype=dtype).cpu().clone()
    facts = {"kind": _KIND, "version": 1, "origin": msgspec.to_builtins(state.synthetic.origin)}
    if empty := sorted(name for name, memory in state.memory.items() if not memory):
        facts["without_memory"] = empty
    if state.refused:
        facts["refused"] = state.refused
    if state.kept_bytes is not None:
        facts["kept_bytes"] = state.kept_bytes
    if state.best is not None:
        # The best images may be the last ones, and safetensors does not write the same memory twice.
        tensors |= {_BEST + name: tensor.clone() for name, tensor in state.best.tensors().items()}
        facts["best"] = msgspec.to_builtins(state.best.origin)
    tensorfile.save(path, tensors, facts)


def load(path: Path, *, device: str | torch.device = "cpu") -> State:
    """Read a state that `save` wrote.

    Raises:
        ResultError: The file is something else.
        CorruptError: It is damaged.
    """
    tensors, facts = tensorfile.load(path, kind=_KIND, version=1)
    synthetic, best = from_tensors(path, tensors, facts.get("origin")), None
    if "best" in facts:
        names = [name for name in tensors if name.startswith(_BEST)]
        stored = {name.removeprefix(_BEST): tensors[name] for name in names}
        best = from_tensors(path, stored, facts["best"])
        if best.run.selected is None or best.images.shape != synthetic.images.shape:
            raise CorruptError(f"{path}: the best images are not of this run")
    try:
        state = State(
            synthetic=synthetic.to(device),
            memory=_memory(tensors, facts.get("without_memory", ()), device),
            random=tensors["random"],
            best=best,
            refused=int(facts.get("refused", 0)),
            kept_bytes=int(facts["kept_bytes"]) if "kept_bytes" in facts else None,
        )
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError) as exc:
        raise ResultError(f"{path}: not a state of this version: {exc}") from exc
    _check(path, state)
    return state


def _stored(name: Name, part: str) -> str:
    """Return the name of a part of an update's memory in the file."""
    return _FORMER.get((name, part), f"{_UPDATE}{name}.{part}")


def _memory(
    tensors: Mapping[str, Tensor], empty: Iterable[str], device: str | torch.device
) -> dict[Name, dict[str, Value]]:
    """Return what the updates remember, from the tensors of a file, and the names of those without memory."""
    named = {stored: names for names, stored in _FORMER.items()}
    found: dict[Name, dict[str, Value]] = {msgspec.convert(name, Name): {} for name in empty}
    for stored, tensor in tensors.items():
        if stored.startswith(_UPDATE):
            name, _, part = stored.removeprefix(_UPDATE).partition(".")
        elif stored in named:
            name, part = named[stored]
        else:
            continue
        value = tensor.to(device) if tensor.ndim else float(tensor)
        found.setdefault(msgspec.convert(name, Name), {})[part] = value
    return found


def _check(path: Path, state: State) -> None:
    values, of_user = state.synthetic.values, state.synthetic.run.updates
    for name, memory in state.memory.items():
        for part, value in memory.items():
            kept, own = torch.as_tensor(value), torch.as_tensor(values.get(name, torch.empty(0)))
            shape = torch.Size() if part == NORM else own.shape
            if name in of_user and part != AVERAGE:
                shape = kept.shape
            if kept.shape != shape or not bool(kept.isfinite().all()):
                raise CorruptError(f"{path}: the {part} of `{name}` must be finite and of its shape")
    fixed = state.synthetic.run.config.condensation is not None  # the learning rate is not learned
    if not {IMAGES, *(() if fixed else (RATE,))} <= state.memory.keys():
        raise ResultError(f"{path}: not a state of this version: the memory of its updates is missing")
    if state.kept_bytes is not None and state.kept_bytes < 0:
        raise CorruptError(f"{path}: `kept_bytes` must be >= 0, got {state.kept_bytes}")
    if not 0 <= state.step <= 2**31 or not 0 <= state.refused <= state.step:
        raise CorruptError(f"{path}: the number of steps is damaged")
    try:
        torch.Generator().set_state(state.random)
    except (RuntimeError, TypeError) as exc:
        raise CorruptError(f"{path}: the state of the random generator is damaged: {exc}") from exc
