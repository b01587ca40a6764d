"""Back to the layout that MTT's code reads: `replay_buffer_{n}.pt`. Needs torch.

Owns MTT's writing rules: nested lists, float tensors with a storage of their own each, ten trajectories a
file, files numbered from 0 without a gap.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from trajfmt.bundle import Bundle
from trajfmt.errors import ExistsError, UsageError, WriteError, display
from trajfmt.files import fsync_directory, fsync_file
from trajfmt.layout import ParamLayout
from trajfmt.sources.bundles import timesteps_of
from trajfmt.staging import Staging
from trajfmt.torch import from_readonly

__all__ = ["BufferWriter", "export"]


class BufferWriter:
    """Writes trajectories as `replay_buffer_{n}.pt`, each file atomically, after those that exist.

    Args:
        folder: created if missing; existing files stay as they are.
        layout: names and shapes of the parameters.
        per_file: trajectories a file; MTT's default is 10, and DATM's code depends on it.
    """

    def __init__(self, folder: str | os.PathLike[str], layout: ParamLayout, *, per_file: int = 10) -> None:
        if per_file < 1:
            raise UsageError(f"`per_file` must be >= 1, got {per_file}")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._layout = layout
        self._per_file = per_file
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
        while (target := self.folder / f"replay_buffer_{self._next}.pt").exists():
            self._next += 1
        partial = self.folder / f".{target.name}.partial"
        try:
            torch.save(self._pending, partial)
            fsync_file(partial)
            os.replace(partial, target)
        except BaseException as exc:
            partial.unlink(missing_ok=True)
            if isinstance(exc, (RuntimeError, OSError)):  # torch reports a full disk as RuntimeError
                reason = str(exc).splitlines()[0]
                raise WriteError(f"{display(target)}: cannot be written: {reason}") from exc
            raise
        fsync_directory(self.folder)
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


def export(
    bundle: Bundle,
    destination: str | os.PathLike[str],
    *,
    per_file: int = 10,
    on_trajectory: Callable[[int], None] = lambda _index: None,
) -> int:
    """Write a bundle as an MTT buffer and return the number of trajectories.

    Bit-identical from `full`; from `convex` it is the convexified path at whole timesteps. Weights stay in
    mapped files, so memory holds none. Nothing is at the destination before all is done.

    Raises:
        ExistsError: the destination exists.
    """
    folder = Path(destination)
    if os.path.lexists(folder):
        raise ExistsError(f"{display(folder)} already exists; choose another name or remove it")
    staging = Staging(folder, os.urandom(16))
    try:
        with BufferWriter(staging.bundle, bundle.layout, per_file=per_file) as writer:
            for trajectory in bundle:
                writer.add(timesteps_of(trajectory, staging.root))
                on_trajectory(trajectory.index)
        staging.publish()
    except BaseException:
        staging.discard()
        raise
    return len(bundle)
