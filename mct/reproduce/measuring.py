"""Jobs that measure: tests of distilled and of random images, and of the networks along a trajectory."""

import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import Any

import trajfmt
from mct.data import datasets
from mct.evaluation.comparison import BASELINE_RATES, Comparison
from mct.evaluation.protocol import evaluate_baseline
from mct.events import Accuracy, NetworkTrained
from mct.models import networks
from mct.plots import along as ways
from mct.reproduce.job import Job
from mct.reproduce.place import RUN, Place, bundle_of, images_of, real
from mct.results.synthetic import BEST_NAME, RESULT_NAME
from mct.runtime.devices import device_of
from mct.settings import defaults
from mct.trajectories.provenance import parse_preprocessing

Tell = Callable[[float], None]
"""Called with the share of a job that is done, in [0, 1]."""


def test(job: Job, place: Place, tell: Tell) -> dict[str, Any]:
    """Test the best images, and the last ones, once each on the test set."""
    (run,) = job.needs
    folder = place.folders.of(run) / RUN
    found: dict[str, Any] = {}
    files = [("best", folder / BEST_NAME), ("final", folder / RESULT_NAME)]
    total, done = job.settings["networks"] * len(files), 0
    for name, file in files:
        comparison = Comparison.prepare(
            file, dataset=images_of(job, place.folders), root=place.data, device=place.device, **job.settings
        )
        events = comparison.distilled()
        for event in _returned(events, found, name):
            done += isinstance(event, NetworkTrained)
            tell(done / total)
    if run.settings["select"] == "test":  # the paper's number: the largest accuracy of the run
        found["best"] = (place.folders.found(run) or {})["best"]
    return found


def random_images(job: Job, place: Place, tell: Tell) -> dict[str, Any]:
    """Train networks on random real images."""
    settings = job.settings
    source = images_of(job, place.folders)
    dataset = datasets.load(
        source, preprocessing=parse_preprocessing(settings["preprocessing"]), root=place.data
    ).to(device_of(place.device))
    model = networks.parse(
        settings["model"], channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )
    config = defaults.evaluate_config(
        dataset.name, networks=settings["networks"], epochs=settings["epochs"], seed=settings["seed"]
    )
    events = evaluate_baseline(settings["ipc"], dataset, model, config, rates=BASELINE_RATES)
    found: dict[str, Any] = {}
    for done, _ in enumerate(_returned(events, found, "best"), start=1):
        tell(done / (len(BASELINE_RATES) * config.networks))
    return found


def along(job: Job, place: Place, tell: Tell) -> dict[str, Any]:
    """Test the networks along both trajectories of the first expert."""
    full, convex = (bundle_of(each, place.folders) for each in job.needs[-2:])
    with trajfmt.open(full) as original, trajfmt.open(convex) as bundle:
        dataset, model = real(bundle, images_of(job, place.folders), place)
        events = ways.along(
            bundle, dataset, model, points=job.settings["points"], original=original, project=True
        )
        found = _drained(events, lambda point: tell(point.number / point.total))
    return dataclasses.asdict(found)


def last_accuracy(
    bundle: trajfmt.Bundle, dataset: datasets.Dataset, model: trajfmt.Model, number: int
) -> float:
    """Return the accuracy of an expert at its last timestep, on the test set."""
    return _drained(ways.along(bundle, dataset, model, points=2, trajectory=number)).points[-1].accuracy


def _returned(
    events: Generator[NetworkTrained, None, Accuracy], found: dict[str, Any], name: str
) -> Iterator[NetworkTrained]:
    """Yield the events of an evaluation, and then note the accuracy of every network."""
    accuracy = yield from events
    found[name] = list(accuracy.networks)
    found[f"{name}_rate"] = accuracy.learning_rate


def _drained(
    events: Generator[ways.Point, None, ways.Along], tell: Callable[[ways.Point], None] = lambda _point: None
) -> ways.Along:
    """Run a test along a trajectory to its end."""
    while True:
        try:
            point = next(events)
        except StopIteration as stop:
            found: ways.Along = stop.value
            return found
        tell(point)
