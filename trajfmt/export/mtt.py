"""Replay buffers `replay_buffer_{n}.pt` for MTT and for codebases that read the same files.

MTT's files are nested lists of float tensors, each with its own storage. They contain ten trajectories each,
and are numbered from 0 without gaps.
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
from trajfmt.storage.filesystem import mapped_array
from trajfmt.storage.writing import write_file
from trajfmt.torch import from_readonly

__all__ = ["TARGET", "BufferWriter", "check", "rows_of", "stubs", "write", "write_stubs"]


class BufferWriter:
    """A writer of replay buffers. Files are written atomically, with numbers that are still free.

    As a context manager it writes the last file on exit.

    Args:
        folder: the folder, created if it is missing. Existing files are kept.
        layout: names and shapes of the parameters.
        per_file: trajectories in each file. MTT writes 10, and DATM's code depends on that.
        stem: the part of the file names before the number.

    Raises:
        UsageError: `per_file` is less than 1.
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
        """Add one trajectory `(T+1, P)`. Do not change the array before its file is written.

        Raises:
            WriteError: a file cannot be written.
        """
        self._pending.append([self._step(row) for row in theta])
        if len(self._pending) == self._per_file:
            self.flush()

    def _step(self, row: NDArray[np.generic]) -> list[torch.Tensor]:
        return [from_readonly(view) for view in self._layout.split(row).values()]

    def flush(self) -> None:
        """Write the trajectories that are not written yet, even if they do not fill a file.

        Raises:
            WriteError: the file cannot be written.
        """
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
    """Return remarks on what MTT's code cannot handle. It reads any number of files of any length."""
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
    """Write all files. Weights stay in mapped files."""
    with BufferWriter(job.folder, job.bundle.layout, per_file=job.per_file) as writer:
        for trajectory in job.bundle:
            writer.add(rows_of(job, trajectory))
            job.on_trajectory(trajectory.index)


def rows_of(job: Job, trajectory: Trajectory) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)` of a trajectory, mapped, in the dtype that is written."""
    as_stored = not job.float32 or job.bundle.layout.dtype == "F32"
    return timesteps_of(trajectory, job.scratch) if as_stored else _single(trajectory, job.scratch)


def _single(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)` as float32, in a mapped unnamed temporary file."""
    with tempfile.TemporaryFile(dir=scratch) as file:  # the map outlives it
        for row in trajectory.rows():
            file.write(row.astype(np.float32).data)
        file.flush()
        return mapped_array(file.fileno(), np.dtype("<f4"), (trajectory.timesteps, trajectory.layout.size))


def stubs(job: Job, destination: Path) -> None:
    """Write a stub in place of every file."""
    write_stubs(job, destination, {"replay_buffer": ("trajectories", None)})


def write_stubs(job: Job, destination: Path, kinds: Mapping[str, tuple[Kind, str | None]]) -> None:
    """Write stubs `{stem}_{n}.pt` in place of all files.

    Args:
        job: the export.
        destination: the folder to which the paths in the stubs are relative.
        kinds: kind and part of the stubs, by stem.
    """
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
