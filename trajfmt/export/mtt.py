"""MTT and those who read as it does: `replay_buffer_{n}.pt`.

Owns MTT's writing rules: nested lists, float tensors with a storage of their own each, ten trajectories a
file, files numbered from 0 without a gap.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from trajfmt.bundle.decoded import timesteps_of
from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.errors import UsageError
from trajfmt.export.base import Job, Target
from trajfmt.export.files import ranges, save
from trajfmt.schema.layout import ParamLayout
from trajfmt.serve.stub import Dtype, Kind, stub_for
from trajfmt.storage.files import write_file
from trajfmt.torch import from_readonly

__all__ = ["TARGET", "BufferWriter", "check", "rows_of", "stubs", "write", "write_stubs"]


class BufferWriter:
    """Writes trajectories as `replay_buffer_{n}.pt`, each file atomically, after those that exist.

    Args:
        folder: created if missing; existing files stay as they are.
        layout: names and shapes of the parameters.
        per_file: trajectories a file; MTT's default is 10, and DATM's code depends on it.
        stem: what stands before the number.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        layout: ParamLayout,
        *,
        per_file: int = 10,
        stem: str = "replay_buffer",
    ) -> None:
        if per_file < 1:
            raise UsageError(f"`per_file` must be >= 1, got {per_file}")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._layout = layout
        self._per_file = per_file
        self._stem = stem
        self._pending: list[list[list[torch.Tensor]]] = []
        self._next = 0

    def add(self, theta: NDArray[np.generic]) -> None:
        """Add one trajectory `(T+1, P)`. The array is read when its file is written: do not change it."""
        self._pending.append([self._step(row) for row in theta])
        if len(self._pending) == self._per_file:
            self.flush()

    def _step(self, row: NDArray[np.generic]) -> list[torch.Tensor]:
        return [from_readonly(view) for view in self._layout.split(row).values()]

    def flush(self) -> None:
        """Write what is pending, even if it is less than a file's worth (MTT would drop it)."""
        if not self._pending:
            return
        while (target := self.folder / f"{self._stem}_{self._next}.pt").exists():
            self._next += 1
        save(self._pending, target)
        self._pending = []

    def __enter__(self) -> BufferWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.flush()


def check(bundle: Bundle, per_file: int) -> Sequence[str]:
    """Say what MTT's code would stumble over; it reads any number of files of any length."""
    del per_file
    notes = []
    lasts = {entry.timesteps - 1 for entry in bundle.manifest.trajectories}
    if len(lasts) > 1:
        notes.append(
            f"trajectories end at {min(lasts)} to {max(lasts)}: keep max_start_epoch + expert_epochs <="
            f" {min(lasts) + 1}, or MTT's code stops with an IndexError"
        )
    if bundle.layout.dtype != "F32":
        notes.append(
            f"weights are {bundle.layout.dtype}, MTT's networks compute in float32; --float32 writes that"
        )
    return notes


def write(job: Job) -> None:
    """Write all files. Weights stay in mapped files, so memory holds none."""
    with BufferWriter(job.folder, job.bundle.layout, per_file=job.per_file) as writer:
        for trajectory in job.bundle:
            writer.add(rows_of(job, trajectory))
            job.on_trajectory(trajectory.index)


def rows_of(job: Job, trajectory: Trajectory) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)`, mapped, of the type that is to be written."""
    as_stored = not job.float32 or job.bundle.layout.dtype == "F32"
    return timesteps_of(trajectory, job.scratch) if as_stored else _single(trajectory, job.scratch)


def _single(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)` as float32, in an unnamed temporary file that is mapped."""
    with tempfile.TemporaryFile(dir=scratch) as file:  # the map outlives it
        for row in trajectory.rows():
            file.write(row.astype(np.float32).data)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(trajectory.timesteps, trajectory.layout.size))


def stubs(job: Job, destination: Path) -> None:
    """Write a stub for every file."""
    write_stubs(job, destination, {"replay_buffer": ("trajectories", None)})


def write_stubs(job: Job, destination: Path, kinds: Mapping[str, tuple[Kind, str | None]]) -> None:
    """Write stubs `{stem}_{n}.pt` for every range of trajectories and stem, which has its kind and part."""
    dtype: Dtype | None = "float32" if job.float32 else None
    for number, trajectories in ranges(len(job.bundle), job.per_file):
        for stem, (kind, part) in kinds.items():
            stub = stub_for(job.bundle, destination, kind, trajectories, part=part, dtype=dtype)
            write_file(job.folder / f"{stem}_{number}.pt", stub.encode())
        for index in trajectories:
            job.on_trajectory(index)


TARGET = Target(
    name="mtt",
    title="replay_buffer_<n>.pt, for MTT, TESLA, FTD, ATT, SelMatch and all that read as MTT does",
    check=check,
    write=write,
    stubs=stubs,
)
