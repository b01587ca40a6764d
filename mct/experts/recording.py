"""Recording the trajectories of experts, and storing each one as soon as it is finished.

For a `convex` bundle, only the knots and the step norms of an expert are recorded; the full trajectory never
exists. For a `full` bundle and for MTT's replay buffers, all timesteps of an expert are kept in memory until
it is finished. Finished experts are on disk, so an interruption does not lose them.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import trajfmt
from mct.errors import ExistsError
from mct.experts.job import Job
from trajfmt.bundle import timesteps_of
from trajfmt.encodings import ENCODINGS, encoding_of_path
from trajfmt.export import BufferWriter
from trajfmt.schema import Part
from trajfmt.sources import ForeignTrajectory, ReplayPart
from trajfmt.storage import Staging, partial_of, write_file
from trajfmt.trajectory import PathRecorder, Recorded

Array = NDArray[np.generic]

PER_FILE = 10
"""Number of trajectories in a `replay_buffer_{n}.pt`, as in MTT. DATM's code relies on this number."""

_MARKER = ".experts"
"""Name of a hidden file that contains the identity of an unfinished run that writes replay buffers."""


class ExpertRecorder(Protocol):
    """Records the weights of one expert, timestep by timestep."""

    def add(self, theta: NDArray[np.float32], /) -> None:
        """Record the weights `(P,)` of the next timestep. The caller may overwrite the array afterwards."""
        ...


class TimestepRecorder:
    """Keeps the weights of every timestep in memory."""

    def __init__(self) -> None:
        self.rows: list[NDArray[np.float32]] = []

    def add(self, theta: NDArray[np.float32]) -> None:
        """Record a copy of the weights `(P,)` of the next timestep."""
        self.rows.append(theta.copy())


class BundleStore:
    """Stores experts in a bundle, which appears at `path` when the last expert is finished.

    Args:
        path: The bundle: `.mct` for a `convex` one, `.mtt` for a `full` one.
        job: The run.
        part: Which experts of the run the bundle has; None for all.

    Raises:
        ExistsError: If an interrupted run with another identity has started to write this bundle.
    """

    def __init__(self, path: Path, job: Job, part: Part | None = None) -> None:
        if Staging.unfinished(path) not in (None, job.identity):
            raise ExistsError(
                f"{path}: an interrupted run with other settings has stored experts for this bundle; "
                f"continue that run, use another --out, or remove {path.parent / f'.{path.name}.partial'}"
            )
        self._path, self._job = path, job
        self._writer = trajfmt.create(
            path,
            job.layout,
            encoding=encoding_of_path(path).name,
            provenance=job.provenance,
            knots=job.knots,
            smooth=job.smooth,
            average=job.average,
            job=job.identity,
        )
        if part is not None:
            self._writer.extensions |= part.extensions
        self._writer.recover()

    @property
    def finished(self) -> int:
        """Number of stored experts."""
        return len(self._writer)

    def recorder(self) -> ExpertRecorder:
        """Return an empty recorder for the next expert."""
        return recorder_for(self._path, self._job)

    def keep(self, recorder: ExpertRecorder | Recorded) -> None:
        """Store a recorded expert. Afterwards, an interruption does not lose it."""
        kept = ready(recorder)
        if isinstance(kept, Recorded):
            self._writer.add(kept)
        elif isinstance(kept, TimestepRecorder):
            self._writer.add(trajfmt.ArrayTrajectory(np.stack(kept.rows), self._job.layout))

    def take(self, expert: ForeignTrajectory) -> None:
        """Store an expert that was read from another bundle."""
        self._writer.add(expert)

    def publish(self) -> None:
        """Finish the bundle, and move it to its path."""
        self._writer.publish()

    def release(self) -> None:
        """Stop before the bundle is complete. Stored experts stay in a hidden folder beside its path."""
        if self._writer.staging.empty:
            self._writer.discard()
        else:
            self._writer.release()


class BufferStore:
    """Stores experts in MTT's replay buffers, with ten experts per file.

    A file is written as soon as its ten experts are finished. Until then, they are stored in a hidden bundle
    in the same folder. The last file may contain fewer experts.

    Args:
        folder: Folder of the replay buffers.
        job: The run.

    Raises:
        ExistsError: If the folder contains other files, or an interrupted run with another identity.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self._folder = folder
        self._job = job
        marker = folder / _MARKER
        # A run that was killed before it stored anything may have left its marker, or a part of it.
        ours = {marker.name, partial_of(marker).name}
        if folder.exists() and {entry.name for entry in folder.iterdir()} - ours:
            if not marker.is_file():
                raise ExistsError(f"{folder} exists; use another --out, or remove it")
            if marker.read_bytes() != job.identity:
                raise ExistsError(
                    f"{folder} has an interrupted run with other settings; use another --out, or remove it"
                )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_file(marker, job.identity)
        files = list(folder.glob("replay_buffer_*.pt"))
        self._files = len(files)
        self._filed = sum(len(ReplayPart(file).open(folder)) for file in files)
        # The previous run may have been interrupted after it wrote a file, but before it removed the bundle;
        # or after it finished the bundle, but before it wrote the file.
        for bundle in folder.glob(".replay_buffer_*.mtt"):
            if (folder / f"{bundle.stem[1:]}.pt").exists():
                shutil.rmtree(bundle)
        if self._bundle.exists():
            self._to_file()
        self._store = BundleStore(self._bundle, job)

    @property
    def _bundle(self) -> Path:
        return self._folder / f".replay_buffer_{self._files}.mtt"

    @property
    def finished(self) -> int:
        """Number of stored experts."""
        return self._filed + self._store.finished

    def recorder(self) -> ExpertRecorder:
        """Return an empty recorder for the next expert."""
        return self._store.recorder()

    def keep(self, recorder: ExpertRecorder | Recorded) -> None:
        """Store a recorded expert. Afterwards, an interruption does not lose it."""
        self._store.keep(recorder)
        self._file_if_full()

    def take(self, expert: ForeignTrajectory) -> None:
        """Store an expert that was read from another bundle."""
        self._store.take(expert)
        self._file_if_full()

    def _file_if_full(self) -> None:
        if self._store.finished == PER_FILE:
            self._store.publish()
            self._to_file()
            self._store = BundleStore(self._bundle, self._job)

    def publish(self) -> None:
        """Write the last file, and end the run."""
        if self._store.finished:
            self._store.publish()
            self._to_file()
        else:
            self._store.release()
        (self._folder / _MARKER).unlink()

    def release(self) -> None:
        """Stop before all experts are stored. Stored experts stay in the folder."""
        self._store.release()
        if not self.finished and not self._files:
            (self._folder / _MARKER).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else has come into it
                os.rmdir(self._folder)

    def _to_file(self) -> None:
        """Convert the hidden bundle to the replay buffer file with the same number."""
        bundle = self._bundle
        with (
            trajfmt.open(bundle) as full,
            BufferWriter(self._folder, full.layout, per_file=len(full)) as writer,
        ):
            for trajectory in full:
                writer.add(timesteps_of(trajectory, self._folder))
            self._filed += len(full)
        shutil.rmtree(bundle)
        self._files += 1


def recorder_for(path: Path, job: Job) -> ExpertRecorder:
    """Return an empty recorder for an expert that will be stored at `path`."""
    if path.suffix == ENCODINGS["convex"].suffix:
        return PathRecorder(job.layout, knots=job.knots, smooth=job.smooth, average=job.average)
    return TimestepRecorder()


def ready(recorder: ExpertRecorder | Recorded) -> ExpertRecorder | Recorded:
    """Return the part of a recorded expert that a store keeps, in a form that other processes can receive."""
    return recorder.finish() if isinstance(recorder, PathRecorder) else recorder


def state_of(recorder: ExpertRecorder) -> tuple[Mapping[str, Array], Sequence[NDArray[np.float32]]]:
    """Return what a recorder holds, for `restore_recorder`: arrays by name, and a list of timesteps."""
    if isinstance(recorder, PathRecorder):
        return recorder.state(), ()
    assert isinstance(recorder, TimestepRecorder)
    return {}, recorder.rows


def restore_recorder(
    recorder: ExpertRecorder, state: Mapping[str, Array], rows: Sequence[NDArray[np.float32]]
) -> None:
    """Let an empty recorder continue from what `state_of` has returned."""
    if isinstance(recorder, PathRecorder):
        recorder.restore(state)
    elif isinstance(recorder, TimestepRecorder):
        recorder.rows[:] = rows


@contextlib.contextmanager
def released(store: BundleStore | BufferStore | None) -> Iterator[None]:
    """Release a store if the block fails; what it has stored is kept."""
    try:
        yield
    except BaseException:
        if store is not None:
            store.release()
        raise


def is_bundle(path: Path) -> bool:
    """Return whether `path` has the suffix of a bundle, so that experts are not written as replay buffers."""
    return any(path.suffix == encoding.suffix for encoding in ENCODINGS.values())


def store(path: Path, job: Job) -> BundleStore | BufferStore:
    """Open the store of a run: a bundle if `path` has the suffix of one, else a folder of replay buffers.

    Raises:
        ExistsError: If the path contains something else, or an interrupted run with another identity.
    """
    return BundleStore(path, job) if is_bundle(path) else BufferStore(path, job)
