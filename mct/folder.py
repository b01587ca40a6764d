"""The folder of one distillation: which files, when they may be written, and how a run continues.

    synthetic.safetensors   the result so far (`synthetic`)
    state.safetensors       what continues the run (`state`)
    metrics.jsonl           one JSON object per outer step
    images.png              the images, class by class

Every file is replaced as a whole, except the metrics, which grow by one line per step.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import torch

from mct import pictures, synthetic, tensorfile
from mct import state as states
from mct.config import DistillConfig
from mct.data import Dataset
from mct.errors import ExistsError, MismatchError, MissingError
from mct.events import OuterStep
from mct.state import State
from mct.synthetic import Origin

_FREE = ("outer_steps", "eval_every", "save_every")  # settings that a resumed run may change


class RunFolder:
    """The files of one run under `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = path / synthetic.RESULT_NAME
        self.state = path / "state.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.picture = path / "images.png"

    def check_free(self) -> None:
        """Raise unless the folder is absent or empty.

        Raises:
            ExistsError: Something is there, which a new run would overwrite.
        """
        if self.path.is_dir() and any(self.path.iterdir()):
            hint = "use --resume to continue it, or" if self.state.is_file() else "use"
            raise ExistsError(f"{self.path} is not empty; {hint} another --out")
        if self.path.exists() and not self.path.is_dir():
            raise ExistsError(f"{self.path} is not a folder; use another --out")

    def config(self) -> DistillConfig:
        """Return the settings of the run that is here.

        Raises:
            MissingError: There is no state.
        """
        return self._load(torch.device("cpu")).synthetic.origin.config

    def _load(self, device: torch.device) -> State:
        if not self.state.is_file():
            raise MissingError(f"{self.path}: there is no run to resume (no {self.state.name})")
        return states.load(self.state, device=device)

    def resume(self, origin: Origin, *, device: torch.device) -> State:
        """Return the state of the run that is here, if it was started as `origin` says.

        Raises:
            MissingError: There is no state.
            MismatchError: The run has another bundle, model, dataset or setting.
        """
        state = self._load(device)
        found = state.synthetic.origin
        for field in dataclasses.fields(Origin):
            if field.name in ("config", "outer_step"):
                continue
            then, now = getattr(found, field.name), getattr(origin, field.name)
            if then != now:
                raise MismatchError(f"{self.path}: the run has `{field.name}` {then!r}, now it is {now!r}")
        for setting in dataclasses.fields(origin.config):
            then, now = getattr(found.config, setting.name), getattr(origin.config, setting.name)
            if then != now and setting.name not in _FREE:
                raise MismatchError(
                    f"{self.path}: the run has `{setting.name}` {then!r}, now it is {now!r}; "
                    "only the number of outer steps may change"
                )
        newer = dataclasses.replace(origin, outer_step=found.outer_step)
        return dataclasses.replace(state, synthetic=dataclasses.replace(state.synthetic, origin=newer))

    def open(self, steps: int) -> None:
        """Make the folder if needed, and cut the metrics to the steps that the state has done."""
        self.path.mkdir(parents=True, exist_ok=True)
        lines = self.metrics.read_bytes().splitlines(keepends=True) if self.metrics.exists() else []
        tensorfile.write_atomically(self.metrics, b"".join(lines[:steps]))

    def record(self, event: OuterStep) -> None:
        """Append one line to the metrics."""
        facts = dataclasses.asdict(event)
        if event.accuracy is None:
            del facts["accuracy"]
        line = json.dumps(facts, sort_keys=True, allow_nan=False) + "\n"
        with self.metrics.open("ab", buffering=0) as file:
            file.write(line.encode())

    def start(self, state: State) -> None:
        """Write what a resume needs, before the first step; there is no result yet."""
        self.path.mkdir(parents=True, exist_ok=True)
        states.save(self.state, state)

    def save(self, state: State, dataset: Dataset) -> None:
        """Write state, result and picture, whole even if Ctrl-C comes again meanwhile."""
        with _held_back():
            states.save(self.state, state)
            synthetic.save(self.result, state.synthetic, dataset)
            pixels = dataset.pixels(state.synthetic.images)
            ipc = state.synthetic.ipc
            image = pictures.grid(pixels, columns=ipc * max(1, 10 // ipc))  # whole classes, about ten a row
            tensorfile.write_atomically(self.picture, pictures.png(image))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other runs out of the folder.

        Raises:
            ExistsError: Another run is in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise ExistsError(f"{self.path}: another run is writing here; use another --out") from exc
            yield
        finally:
            os.close(folder)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
