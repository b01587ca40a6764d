"""What each kind of job does. Every job continues where an earlier one of the same settings was interrupted.

Experts and distillations continue within themselves, from their own files. The other jobs take seconds to
minutes and begin again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

import trajfmt
from mct.data import datasets
from mct.distillation.run import DistillRun
from mct.errors import ExistsError
from mct.events import Evaluated, ExpertContinued, ExpertEpoch, ExpertsFound, OuterStep
from mct.experts.run import ExpertRun
from mct.reproduce import measuring
from mct.reproduce.job import Job
from mct.reproduce.measuring import Tell
from mct.reproduce.place import CONVEX, FULL, IMAGES, RUN, Place, bundle_of, images_of, real
from mct.results import metrics
from mct.runtime.devices import device_of
from trajfmt.convert import ConvertOptions, convert
from trajfmt.storage import BusyError, Lock, partial_of

_PATIENCE: Final = 60.0
"""Seconds that a job waits for a process of an earlier start, which saves its state and ends."""


def do(job: Job, place: Place, tell: Tell = lambda _share: None) -> None:
    """Do a job whose needed jobs are finished, unless it is finished itself.

    Raises:
        ExistsError: Another process does the job, and does not end.
        MctError: The job failed.
    """
    path = place.folders.begin(job)
    with _lock(path):
        if place.folders.is_done(job):
            return
        began, busy = time.monotonic(), time.process_time()
        found = _DOING[job.kind](job, path, place, tell)
        place.folders.finish(
            job, found, seconds=time.monotonic() - began, cpu_seconds=time.process_time() - busy
        )


def _images(job: Job, path: Path, place: Place, _tell: Tell) -> dict[str, Any]:
    """Write the first training images of a data set, and all its test images."""
    name, first = job.settings["dataset"], job.settings["first"]
    raw = datasets.SOURCES[name](place.data or datasets.ROOT)
    file = path / IMAGES
    partial = partial_of(file)
    with partial.open("wb") as stream:
        np.savez(
            stream,
            train_images=raw.train_images[:first],
            train_labels=raw.train_labels[:first],
            test_images=raw.test_images,
            test_labels=raw.test_labels,
        )
    os.replace(partial, file)
    return {"bytes": file.stat().st_size}


def _experts(job: Job, path: Path, place: Place, tell: Tell) -> dict[str, Any]:
    """Train the experts, and test each at its last timestep."""
    settings, bundle = dict(job.settings), path / FULL
    source = images_of(job, place.folders)
    settings.pop("dataset", None)
    if not bundle.exists():
        run = ExpertRun.prepare(
            source, bundle, root=place.data, device=place.device, save_every=20.0, **settings
        )
        epochs, done = run.config.epochs, 0
        for event in run.events():
            if isinstance(event, ExpertEpoch):
                done += 1
            elif isinstance(event, ExpertContinued):
                done += event.epochs
            elif isinstance(event, ExpertsFound):
                done += event.count * epochs
            tell(min(1.0, done / (epochs * run.config.experts)))
    with trajfmt.open(bundle) as opened:
        dataset, model = real(opened, source, place)
        accuracies = [
            measuring.last_accuracy(opened, dataset, model, number) for number in range(len(opened))
        ]
        return {"bytes": _bytes(bundle), "sha256": opened.sha256, "accuracies": accuracies}


def _convert(job: Job, path: Path, place: Place, tell: Tell) -> dict[str, Any]:
    """Convexify the trajectories of experts."""
    bundle, source = path / CONVEX, bundle_of(job.needs[-1], place.folders)
    if not bundle.exists():
        convert(source, bundle, ConvertOptions(knots=tuple(job.settings["knots"])))
    tell(1.0)
    with trajfmt.open(bundle) as opened:
        return {"bytes": _bytes(bundle), "sha256": opened.sha256}


def _distill(job: Job, path: Path, place: Place, tell: Tell) -> dict[str, Any]:
    """Distil, and return what the evaluations found."""
    folder = path / RUN
    settings = dict(job.settings)
    settings.pop("dataset", None)
    bundles = [bundle_of(each, place.folders) for each in job.needs if each.kind in ("experts", "convert")]
    with DistillRun.prepare(
        bundles,
        folder,
        resume=(folder / "state.safetensors").is_file(),
        dataset=images_of(job, place.folders),
        root=place.data,
        device=place.device,
        save_every=10,
        **settings,
    ) as run:
        for event in run.events():
            if isinstance(event, OuterStep | Evaluated):
                tell(event.step / run.distiller.config.outer_steps)
    evaluations = [step for step in metrics.read(folder) if step.accuracy is not None]
    best = max((step.accuracy for step in evaluations if step.accuracy), key=lambda found: found.mean)
    return {
        "steps": [step.step for step in evaluations],
        "accuracies": [step.accuracy.mean for step in evaluations if step.accuracy],
        "best": best.networks,
        "on": best.on,
    }


_DOING: Final[Mapping[str, Callable[[Job, Path, Place, Tell], dict[str, Any]]]] = {
    "images": _images,
    "experts": _experts,
    "convert": _convert,
    "distill": _distill,
    "test": lambda job, _path, place, tell: measuring.test(job, place, tell),
    "random": lambda job, _path, place, tell: measuring.random_images(job, place, tell),
    "along": lambda job, _path, place, tell: measuring.along(job, place, tell),
}


def _bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock the folder of a job for the block, after waiting for a process that is about to end.

    Raises:
        ExistsError: It does not end.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            lock = Lock(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path / ".lock", path)
            break
        except BusyError as exc:
            if time.monotonic() > until:
                raise ExistsError(f"{path}: another process does this job; wait for its end") from exc
            time.sleep(0.1)
    try:
        yield
    finally:
        lock.release()


def settle_threads(device: str) -> None:
    """Use one thread on a CPU, so that results do not depend on how many jobs run at a time."""
    if torch.device(device_of(device)).type == "cpu":
        torch.set_num_threads(1)
