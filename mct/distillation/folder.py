"""The folder of one distillation: which files, when they may be written, and how a run continues.

    settings.json           every setting, resolved, with the versions that the run was made with
    synthetic.safetensors   the result so far (`synthetic`)
    best.safetensors        the images with the best evaluation so far, where there were evaluations
    state.safetensors       what continues the run (`state`)
    metrics.jsonl           one JSON object per outer step, and one before where step 0 was evaluated
    test.json               the accuracy of the best images on the test set, where held-out ones chose them
    images.png              the images of the last step, class by class
    snapshots/              such pictures of earlier steps, with `snapshot_every`
    config.toml             the options that repeat the run; the command mct writes it
    .lock                   on file systems without locks: which process writes here

Every file is replaced as a whole, except the metrics, which grow by one line per step. If several processes
share a run, process 0 writes these files, and the others only read the state at the beginning.
"""

import contextlib
import dataclasses
import json
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch

import trajfmt
from mct.data.datasets import Dataset
from mct.distillation import state as states
from mct.distillation.state import State
from mct.errors import ExistsError, MismatchError, MissingError
from mct.events import Accuracy, Evaluated, OuterStep
from mct.results import grids, metrics, snapshots, synthetic
from mct.results.origin import Change, Origin
from mct.runtime import tensorfile
from mct.runtime.devices import described
from mct.runtime.interruption import Guard
from mct.settings.config import EvaluateConfig
from mct.settings.groups import flat
from trajfmt.storage import BusyError, Lock, partial_of, write_file

_FREE = (
    "outer_steps",
    "eval_every",
    "save_every",
    "snapshot_every",
)  # Settings that a resumed run may change.
_RATES = ("lr_img", "lr_lr")  # It may change these, too; the change is recorded, as it affects the result.
_PROGRESS = ("outer_step", "selected")  # Fields of an origin that are progress and no settings.
_CONTINUES = "what was saved before is whole, and --resume continues from it"
_LOCK = ".lock"  # A file in the folder, where the file system has no locks.
_MAY_DIFFER = ("config", "evaluation", "changes", "scores_sha256", *_PROGRESS)

_METHOD = "method_source_sha256"
_CODE = {"model_source_sha256": "network", _METHOD: "method"}
"""Facts that are hashes of the user's code. Before the first step, the code of the method may still
change."""

_HASHES = ("labels_sha256", "test_sha256", *_CODE)
"""Facts that runs of earlier versions did not record."""


class RunFiles(Protocol):
    """What the outer steps of a run write: `RunFolder` in process 0, `NoFiles` in the others."""

    state: Path
    """The file from which the run can be resumed; for messages."""

    picture: Path
    """The picture of the images."""

    def record(self, event: OuterStep | Evaluated, /) -> None:
        """Append one line to the metrics."""
        ...

    def save(self, state: State, dataset: Dataset, /) -> None:
        """Write state, results and picture."""
        ...

    def snapshot(self, state: State, dataset: Dataset, /) -> None:
        """Write a picture of the images that stays when the images change."""
        ...


class RunFolder:
    """The files of one run under `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = path / synthetic.RESULT_NAME
        self.best = path / synthetic.BEST_NAME
        self.settings = path / metrics.SETTINGS
        self.state = path / "state.safetensors"
        self.metrics = path / metrics.METRICS
        self.test = path / metrics.TEST
        self.picture = path / "images.png"

    def __repr__(self) -> str:
        return f"<mct.RunFolder {str(self.path)!r}>"

    def _partial(self) -> set[str]:
        """Return the names that files have while they are written. Only a killed run leaves them."""
        files = (self.state, self.result, self.best, self.settings, self.metrics, self.test, self.picture)
        return {partial_of(file).name for file in files}

    def check_free(self) -> None:
        """Raise unless the folder is absent or empty.

        What a run left that was killed before its first state was written counts as nothing.

        Raises:
            ExistsError: Something is there, which a new run would overwrite.
        """
        there = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if {name for name in there if not name.startswith(_LOCK)} - self._partial():
            hint = "use --resume to continue it, or" if self.state.is_file() else "use"
            raise ExistsError(f"{self.path} is not empty; {hint} another --out")
        if self.path.exists() and not self.path.is_dir():
            raise ExistsError(f"{self.path} is not a folder; use another --out")

    def origin(self) -> Origin:
        """Return the origin of the run in this folder, with its settings and those of its evaluations.

        Raises:
            MissingError: There is no state.
        """
        return self._load(torch.device("cpu")).synthetic.run

    def chosen(self) -> Origin | None:
        """Return the origin of the best images, with why they are the best; None if there are none."""
        return synthetic.load(self.best).run if self.best.is_file() else None

    def _load(self, device: torch.device) -> State:
        if not self.state.is_file():
            raise MissingError(
                f"{self.path}: there is no run to resume (no {self.state.name}); start it without --resume"
            )
        return states.load(self.state, device=device)

    def resume(self, origin: Origin, *, device: torch.device) -> State:
        """Return the state of the run in this folder, after checking that it was started as `origin` says.

        Raises:
            MissingError: There is no state.
            MismatchError: The run has another bundle, model, dataset or setting.
        """
        state = self._load(device)
        found = state.synthetic.run
        for field in dataclasses.fields(Origin):
            then, now = getattr(found, field.name), getattr(origin, field.name)
            unknown = then is None and field.name in _HASHES
            if field.name in _MAY_DIFFER or unknown or _agree(then, now):
                continue
            if field.name == _METHOD and state.step == 0:
                continue
            if field.name in _CODE:
                raise MismatchError(
                    f"{self.path}: the file of the {_CODE[field.name]} has changed since the run began; "
                    "restore it, or use another --out without --resume"
                )
            raise MismatchError(
                f"{self.path}: the run has `{field.name}` {then!r}, now it is {now!r}; resume it with "
                "what it was started with, or use another --out without --resume"
            )
        changes = list(found.changes)
        before: dict[str, Any] = flat(found.config)
        for setting, now in flat(origin.config).items():
            then = before.get(setting)
            if then == now or setting in _FREE:
                continue
            if setting not in _RATES:
                raise MismatchError(
                    f"{self.path}: the run has `{setting}` {then!r}, now it is {now!r}; omit "
                    f"`{setting}`, or use another --out without --resume (only "
                    f"{', '.join(f'`{name}`' for name in _FREE + _RATES)} may change)"
                )
            changes.append(Change(step=state.step, setting=setting, before=before[setting], after=now))
        if state.best is not None and origin.evaluation not in (None, found.evaluation):
            raise MismatchError(
                f"{self.path}: the run was evaluated with {_differing(found.evaluation, origin.evaluation)}; "
                "accuracies of two protocols cannot be compared"
            )
        newer = dataclasses.replace(
            origin,
            outer_step=found.outer_step,
            evaluation=origin.evaluation or found.evaluation,
            scores_sha256=found.scores_sha256,
            changes=tuple(changes),
        )
        return dataclasses.replace(state, synthetic=dataclasses.replace(state.synthetic, origin=newer))

    def start(self, state: State) -> None:
        """Write the state before the first step, so that the run can be resumed; there is no result yet."""
        with tensorfile.explained(self.state, "nothing was saved"):
            # The state has images and momentum, the result images and pixels, and both the best images.
            tensorfile.require_space(self.path, 7 * state.synthetic.images.nbytes)
            self.path.mkdir(parents=True, exist_ok=True)
            states.save(self.state, state)

    def open(self, state: State, device: torch.device) -> None:
        """Write the settings, cut the metrics to the steps that the state has done, and tidy up.

        A run that was killed may have left metrics of later steps, and partly written files.
        """
        for name in self._partial():
            (self.path / name).unlink(missing_ok=True)
        snapshots.until(self.path, state.step)
        settings = msgspec.to_builtins(state.synthetic.origin)
        facts = {
            "settings": {key: value for key, value in settings.items() if key not in _PROGRESS},
            "device": str(device),
            "hardware": described(str(device)),
            "versions": {
                "trajfmt": trajfmt.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        with tensorfile.explained(self.settings, _CONTINUES):
            write_file(self.settings, json.dumps(facts, indent=2).encode() + b"\n")
        content = self.metrics.read_bytes() if self.metrics.exists() else b""
        with tensorfile.explained(self.metrics, _CONTINUES):
            write_file(self.metrics, metrics.until(state.step, content))

    def record(self, event: OuterStep | Evaluated) -> None:
        """Append one line to the metrics."""
        facts = {name: value for name, value in dataclasses.asdict(event).items() if value is not None}
        line = json.dumps(facts, sort_keys=True, allow_nan=False) + "\n"
        with tensorfile.explained(self.metrics, _CONTINUES), self.metrics.open("ab") as file:
            file.write(line.encode())

    def record_test(self, outer_step: int, accuracy: Accuracy) -> None:
        """Write the accuracy on the test set of the images that so many outer steps made."""
        facts = {"outer_step": outer_step, "accuracy": dataclasses.asdict(accuracy)}
        with tensorfile.explained(self.test, "the images and the metrics are whole"):
            write_file(self.test, json.dumps(facts, indent=2, allow_nan=False).encode() + b"\n")

    def save(self, state: State, dataset: Dataset) -> None:
        """Write state, results and picture; Ctrl-C and SIGTERM wait until all are written."""
        with Guard():
            with tensorfile.explained(self.state, _CONTINUES):
                states.save(self.state, state)
            if state.best is not None:
                with tensorfile.explained(self.best, _CONTINUES):
                    synthetic.save(self.best, state.best, dataset)
            if state.step == 0:
                return  # There is no result before the first step.
            with tensorfile.explained(self.result, _CONTINUES):
                synthetic.save(self.result, state.result, dataset)
            found = state.result
            by_class = found.labels.argsort(stable=True)  # and stage by stage
            ipc = len(by_class) // len(found.origin.class_names)
            pixels = dataset.pixels(found.images[by_class])
            image = grids.grid(pixels, columns=ipc * max(1, 10 // ipc))  # whole classes, about ten a row
            with tensorfile.explained(self.picture, _CONTINUES):
                write_file(self.picture, grids.png(image))

    def snapshot(self, state: State, dataset: Dataset) -> None:
        """Write a picture of the first images of each class that change, which stays when they do."""
        now = state.result
        rows = snapshots.changing(now).to(now.images.device)
        path = snapshots.path_of(self.path, state.step)
        with tensorfile.explained(path, _CONTINUES):
            pixels, labels = dataset.pixels(now.images[rows]), now.labels[rows]
            snapshots.write(self.path, state.step, pixels.cpu(), labels.cpu())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against other runs for the block.

        Raises:
            ExistsError: Another run has locked it.

        Warns:
            FileSystemWarning: The file system has no locks; a file in the folder replaces them.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock = Lock(folder, self.path / _LOCK, self.path)
        except BusyError as exc:
            why = f"; {exc}" if str(exc) else ""
            raise ExistsError(f"{self.path}: another run is writing here; use another --out{why}") from exc
        try:
            yield
        finally:
            lock.release()


class NoFiles:
    """The `RunFiles` of all processes but the first, which write nothing.

    Args:
        folder: The folder that process 0 writes to.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.state, self.picture = folder.state, folder.picture

    def record(self, event: OuterStep | Evaluated) -> None:
        """Write nothing."""

    def save(self, state: State, dataset: Dataset) -> None:
        """Write nothing."""

    def snapshot(self, state: State, dataset: Dataset) -> None:
        """Write nothing."""


def _differing(then: EvaluateConfig | None, now: EvaluateConfig | None) -> str:
    """Return the settings in which two protocols differ, with both values, as text."""
    before, after = ({} if one is None else dataclasses.asdict(one) for one in (then, now))
    names = {name: name for name in after if before.get(name) != after[name]}
    names |= {
        name: f"eval_{name}" for name in names if name in ("networks", "epochs", "protocol")
    }  # as a run calls them
    return ", ".join(f"`{shown}` {before.get(name)!r}, now {after[name]!r}" for name, shown in names.items())


def _agree(then: Any, now: Any) -> bool:
    """Return whether a fact is the same, with statistics of the same images up to rounding.

    Another number of threads adds the pixels in another order.
    """
    if not isinstance(then, trajfmt.Preprocessing) or not isinstance(now, trajfmt.Preprocessing):
        return bool(then == now)
    if then.images_sha256 is None:  # a run of a version that did not record it
        now = msgspec.structs.replace(now, images_sha256=None)
    if then.images_sha256 is None or now.mean is None or now.std is None:
        return bool(then == now)
    pairs = [*zip(then.mean or (), now.mean, strict=False), *zip(then.std or (), now.std, strict=False)]
    close = all(math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) for one, other in pairs)
    return close and bool(msgspec.structs.replace(now, mean=then.mean, std=then.std) == then)
