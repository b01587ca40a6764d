"""The state of an expert in training, and its files, from which an interrupted training continues.

A state holds all that the later updates depend on, except random numbers: they follow from the seed and the
number of updates done. Every expert in training has two files beside the destination of the run, here for
expert 17 of `experts.mct`:

    .experts.mct.00017.state    a safetensors file, replaced as a whole: weights, momentum, recorder, counters
    .experts.mct.00017.rows     the recorded timesteps, one after another, if all of them are kept; grows

Files that are damaged cost no more than the time of the training that they hold.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mct.errors import CorruptError, ExistsError, MctError, MissingError
from mct.runtime import tensorfile
from trajfmt.storage import partial_of

_KIND: Final = "expert in training"
_LEARNER: Final = "learner."
_RECORDER: Final = "recorder."
_TOTAL: Final = "total"
_STATE: Final = re.compile(r"\.(.+)\.(\d{5,})\.state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the training of an expert has come."""

    steps: int = 0
    """Number of updates."""

    epochs: int = 0
    """Number of epochs whose result was returned."""

    timesteps: int = 0
    """Number of recorded timesteps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The state of an expert between two updates; P weights."""

    progress: Progress
    """How far the training has come."""

    total: Tensor
    """`(2,)` float64: the sums of losses and of hits in this epoch."""

    learner: Mapping[str, Tensor]
    """What `Learner.state` returns."""

    recorder: Mapping[str, NDArray[Any]]
    """What the recorder holds besides `rows`."""

    rows: Sequence[NDArray[np.float32]] = field(default=())
    """The recorded timesteps, `(P,)` each, of a recorder that keeps all of them. They only become more."""


class ExpertFile:
    """The files of one expert in training.

    Args:
        path: Destination of the run: a bundle or a folder.
        number: Number of the expert.
        identity: Identity of the run, as in `mct.experts.recording.Job`.
    """

    def __init__(self, path: Path, number: int, identity: bytes) -> None:
        stem = f".{path.name}.{number:05d}"
        self.path = path.with_name(f"{stem}.state")
        self._rows = path.with_name(f"{stem}.rows")
        self._identity = identity.decode()
        self._written, self._digest = 0, hashlib.sha256()

    def load(self) -> Saved | None:
        """Return the saved state; None if there is none.

        Raises:
            ExistsError: If it belongs to a run with other settings.
            CorruptError: If it cannot be used. The expert is then trained from its beginning.
        """
        try:
            tensors, facts = tensorfile.load(self.path, kind=_KIND, version=1)
        except MissingError:
            return None
        except MctError as exc:
            raise CorruptError(str(exc)) from exc
        if facts.get("identity") != self._identity:
            raise ExistsError(
                f"{self.path}: an interrupted run with other settings has saved an expert in training; "
                "continue that run, use another --out, or remove this file"
            )
        try:
            progress = Progress(**facts["progress"])
            saved = Saved(
                progress=progress,
                total=tensors[_TOTAL],
                learner=_part(tensors, _LEARNER),
                recorder={name: values.numpy() for name, values in _part(tensors, _RECORDER).items()},
                rows=self._read(facts["rows"], facts["elements"], facts["rows_sha256"]),
            )
        except (KeyError, TypeError, ValueError, OSError) as exc:
            raise CorruptError(f"{self.path}: the state is damaged or incomplete: {exc}") from exc
        return saved

    def save(self, saved: Saved) -> None:
        """Write a state, atomically. Both files are durable afterwards.

        Raises:
            OSError: If it cannot be written. The earlier state is whole then.
        """
        self._append(saved.rows)
        tensors = {_TOTAL: saved.total}
        tensors |= {_LEARNER + name: values for name, values in saved.learner.items()}
        # safetensors does not write the same memory twice, and a knot may be the most recent timestep, too
        tensors |= {_RECORDER + name: torch.from_numpy(x.copy()) for name, x in saved.recorder.items()}
        facts = {
            "kind": _KIND,
            "version": 1,
            "identity": self._identity,
            "progress": asdict(saved.progress),
            "rows": len(saved.rows),
            "elements": saved.rows[0].size if saved.rows else 0,
            "rows_sha256": self._digest.hexdigest(),
        }
        tensorfile.save(self.path, tensors, facts)

    def remove(self) -> None:
        """Remove the files. The state goes first: without it, the other file is not used."""
        for path in (self.path, self._rows, partial_of(self.path)):
            path.unlink(missing_ok=True)

    def _append(self, rows: Sequence[NDArray[np.float32]]) -> None:
        """Append the rows that are not in the file yet. What is behind those of the last state goes."""
        if not rows:
            return
        with self._rows.open("r+b" if self._written else "wb") as file:
            file.seek(self._written * rows[0].nbytes)
            file.truncate()
            for row in rows[self._written :]:
                self._digest.update(row.data)
                file.write(row.data)
            file.flush()
            os.fsync(file.fileno())
        self._written = len(rows)

    def _read(self, count: int, elements: int, digest: str) -> list[NDArray[np.float32]]:
        """Return the rows of a state, and go on behind them.

        Raises:
            ValueError: If the file is damaged.
        """
        rows, found = list[NDArray[np.float32]](), hashlib.sha256()
        if count:
            with self._rows.open("rb") as file:
                for _ in range(count):
                    data = file.read(4 * elements)
                    found.update(data)
                    rows.append(np.frombuffer(data, np.float32).copy())
        if found.hexdigest() != digest:
            raise ValueError(f"{self._rows.name} does not have the recorded sha256")
        self._written, self._digest = count, found
        return rows


def saved_in(folder: Path, name: str | None = None) -> list[int]:
    """Return the numbers of the experts that have a saved state in a folder, in order.

    Args:
        folder: The folder, which may be absent.
        name: Name of the destination of their run; None for all.
    """
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = os.listdir(folder)
    found = [match for match in map(_STATE.fullmatch, names) if match and name in (None, match[1])]
    return sorted(int(match[2]) for match in found)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
