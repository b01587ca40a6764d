"""Checkpoints `{trajectory:05d}/checkpoint-{number}/model.safetensors`, one for each timestep.

The numbers are those of the source. The name of the folder says what they count, as a conversion reads it:
`checkpoint-10` is step 10 for Hugging Face's trainers, `epoch-10` an epoch, and `ckpt-10` neither. A file
contains the parameters in the order of `Module.parameters()`, followed by the module buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle.numbering import numbers
from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.errors import UsageError
from trajfmt.export.base import Job, Target, no_stubs
from trajfmt.storage.safetensors import NAMES, encode_header
from trajfmt.storage.writing import replacing

__all__ = ["TARGET", "write"]

_FOLDERS: Final = {"step": "checkpoint", "epoch": "epoch", None: "ckpt"}
"""The name of a checkpoint's folder before its number, by the unit of the number."""

_BLOCK = 2**22
"""Elements that are read and written at a time."""


def check(bundle: Bundle, per_file: int) -> Sequence[str]:
    """Return the unit of the numbers, and where module buffers are from. Every bundle is accepted."""
    del per_file
    about = bundle.manifest.provenance.timestep
    unit = "timesteps, since the bundle does not say what they are" if about is None else f"{about.kind}s"
    notes = [f"checkpoints are numbered in {unit}: {_called(bundle)}-<number>"]
    entries = bundle.manifest.trajectories
    if any(e.buffers is not None and len(e.stored_timesteps) < e.timesteps for e in entries):
        notes.append("module buffers are stored at knots: between two of them, files have those of the first")
    return notes


def _called(bundle: Bundle) -> str:
    """Return the name of a checkpoint's folder before its number."""
    about = bundle.manifest.provenance.timestep
    return _FOLDERS[None if about is None else about.kind]


def write(job: Job) -> None:
    """Write every timestep as a checkpoint, with one block of weights in memory at a time.

    Raises:
        UsageError: a module buffer has the name of a parameter, or a name that safetensors reserves.
        OSError: a file cannot be written.
    """
    called = _called(job.bundle)
    for trajectory in job.bundle:
        folder = job.folder / f"{trajectory.index:05d}"
        folder.mkdir()
        for t, number in enumerate(numbers(job.bundle, trajectory)):
            place = folder / f"{called}-{number}"
            place.mkdir()
            _checkpoint(place / "model.safetensors", trajectory, t, float32=job.float32)
        job.on_trajectory(trajectory.index)


def _checkpoint(path: Path, trajectory: Trajectory, t: int, *, float32: bool) -> None:
    """Write one timestep durably."""
    layout = trajectory.layout
    dtype = np.dtype(np.float32) if float32 else layout.numpy_dtype
    carried = trajectory.buffers(t)
    table: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        parameter.name: (dtype, parameter.shape) for parameter in layout.parameters
    }
    for name, array in carried.items():
        if name in table:
            raise UsageError(f"timestep {t}: `{name}` is the name of a parameter and of a module buffer")
        if name == "__metadata__":
            raise UsageError(
                f"timestep {t}: a module buffer is called `{name}`, a name that safetensors reserves"
            )
        table[name] = (array.dtype, array.shape)
    with replacing(path) as file:
        tensors = ((name, NAMES[kind], shape) for name, (kind, shape) in table.items())
        file.write(encode_header(tensors, {"format": "pt"}, alignment=8))
        for start in range(0, layout.size, _BLOCK):
            piece = trajectory.pieces(t, start, min(start + _BLOCK, layout.size))
            file.write(_bytes(piece.astype(dtype, copy=False)))
        for array in carried.values():
            file.write(_bytes(array))


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


TARGET = Target(
    name="checkpoints",
    title="<trajectory>/checkpoint-<step>/model.safetensors, or epoch-<epoch>/; for any loader",
    check=check,
    write=write,
    keeps=frozenset({"numbers", "buffers", "names"}),
    per_file=None,
    stubs=no_stubs,
)
