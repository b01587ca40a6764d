"""The state of a distillation between two outer steps, and its file.

A state holds everything that the next step depends on, and the best images so far. A run that continues
from the file therefore gives the same bits as one that never stopped. States are immutable: a step makes a
new one, so that an interruption at any moment leaves a whole state.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from mct.errors import CorruptError, ResultError
from mct.results.synthetic import SyntheticDataset, from_tensors
from mct.runtime import tensorfile

_KIND = "distillation state"
_BEST = "best."
"""Prefix of the names of the best images' tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state after some number of outer steps."""

    synthetic: SyntheticDataset
    """Images and learning rate; its origin counts the outer steps."""

    image_velocity: Tensor
    """`(K*ipc, C, H, W)`: momentum buffer of the images."""

    rate_velocity: float
    """Momentum buffer of the learning rate."""

    random: Tensor
    """uint8: state of the generator of trajectories, starts, batches and augmentation."""

    best: SyntheticDataset | None = None
    """The images with the best evaluation so far; None before the first."""

    kept_bytes: int | None = None
    """Bytes of activations that the last inner loop kept, since rounding may depend on it. None if `keep_mb`
    was given, because a resumed run is then given it, too."""

    @property
    def step(self) -> int:
        """Number of outer steps that were done."""
        return self.synthetic.run.outer_step


def save(path: Path, state: State) -> None:
    """Write a state, atomically."""
    tensors = state.synthetic.tensors() | {
        "image_velocity": state.image_velocity,
        "rate_velocity": torch.tensor(state.rate_velocity, dtype=torch.float64),
        "random": state.random,
    }
    facts = {"kind": _KIND, "version": 1, "origin": msgspec.to_builtins(state.synthetic.origin)}
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
            image_velocity=tensors["image_velocity"].to(device),
            rate_velocity=float(tensors["rate_velocity"]),
            random=tensors["random"],
            best=best,
            kept_bytes=int(facts["kept_bytes"]) if "kept_bytes" in facts else None,
        )
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError) as exc:
        raise ResultError(f"{path}: not a state of this version: {exc}") from exc
    _check(path, state)
    return state


def _check(path: Path, state: State) -> None:
    velocity = state.image_velocity
    if velocity.shape != state.synthetic.images.shape or not bool(velocity.isfinite().all()):
        raise CorruptError(f"{path}: the momentum of the images must be finite and of their shape")
    if state.kept_bytes is not None and state.kept_bytes < 0:
        raise CorruptError(f"{path}: `kept_bytes` must be >= 0, got {state.kept_bytes}")
    if not math.isfinite(state.rate_velocity) or not 0 <= state.step <= 2**31:
        raise CorruptError(f"{path}: the momentum of the learning rate or the number of steps is damaged")
    try:
        torch.Generator().set_state(state.random)
    except (RuntimeError, TypeError) as exc:
        raise CorruptError(f"{path}: the state of the random generator is damaged: {exc}") from exc
