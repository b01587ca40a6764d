"""Table 1: the accuracy of every method, on every data set, with 1, 10 and 50 images per class."""

import statistics
from typing import Any, Final

from mct.reproduce import arms, published
from mct.reproduce.experiment import Experiment, Outcome, Setting
from mct.reproduce.job import Job
from mct.reproduce.scale import DataSize, Scale
from mct.reproduce.table import Cell, Contrast, Table

_TITLE: Final = "accuracy in percent of networks that are trained on distilled images"


def test_of(scale: Scale, size: DataSize, method: str, ipc: int, seed: int) -> Job:
    """Return the job whose accuracies are a number of the table."""
    if method == "Random":
        return arms.random_images(scale, size, ipc, seed)
    return arms.tested(scale, size, arms.distilled(scale, size, method, ipc, seed))


def jobs(scale: Scale, seeds: int) -> list[Job]:
    """Return the tests of all methods that this version has, and the experts."""
    return [arms.experts(size) for size in scale.data] + [
        test_of(scale, size, method, ipc, seed)
        for size in scale.data
        for ipc in size.ipcs
        for seed in range(seeds)
        for method in published.METHODS
        if arms.lacking(size, method, ipc) is None
    ]


def outcome(setting: Setting) -> Outcome:
    """Return the table."""
    scale = setting.scale
    cells = {
        (method, size.paper, ipc): _cell(setting, size, method, ipc)
        for method in published.METHODS
        for size in scale.data
        for ipc in size.ipcs
    }
    contrasts = [
        Contrast(
            name=f"{one} - {other}, {size.title} ipc {ipc}",
            pairs=((cells[one, size.paper, ipc], cells[other, size.paper, ipc]),),
            published=_difference(size.paper, one, other, ipc),
        )
        for one, other in (("MCT", "MTT"), ("MCT", "Random"))
        for size in scale.data
        for ipc in size.ipcs
    ]
    table = Table(
        name="table1",
        title=f"Table 1: {_TITLE}, at scale {scale.name}",
        cells=tuple(cells.values()),
        contrasts=tuple(contrasts),
        findings=tuple(_full(setting, size) for size in scale.data),
        remarks=scale.remarks(),
    )
    return Outcome(tables=(table,))


def _cell(setting: Setting, size: DataSize, method: str, ipc: int) -> Cell:
    value = published.table1(size.paper, method, ipc)
    row: dict[str, Any] = {
        "row": method,
        "column": f"{size.title} ipc {ipc}",
        "planned": setting.seeds,
        "published": value,
    }
    why = arms.lacking(size, method, ipc)
    if why is not None:
        return Cell(**row, tests={}, why=why)
    planned = [test_of(setting.scale, size, method, ipc, seed) for seed in range(setting.seeds)]
    last = method in arms.CONDENSATION  # as published: their code keeps no best images
    return Cell(**row, **setting.tests(planned, images="final" if last else "best"))


def _difference(dataset: str, one: str, other: str, ipc: int) -> float | None:
    values = [published.table1(dataset, method, ipc) for method in (one, other)]
    if None in values:
        return None
    first, second = (value.mean for value in values if value is not None)
    return first - second


def _full(setting: Setting, size: DataSize) -> str:
    """Return the accuracy of the experts, which were trained on all images of the scale, as a sentence."""
    found, value = setting.found(arms.experts(size)), published.FULL.get(size.paper)
    paper = "" if value is None else f" (paper: {value.mean} ± {value.std})"
    if found is None:
        return f"All images, {size.title}: -{paper}."
    accuracies = [100 * accuracy for accuracy in found["accuracies"]]
    spread = f" ± {statistics.pstdev(accuracies):.1f}" if len(accuracies) > 1 else ""
    return (
        f"All images, {size.title}: {statistics.fmean(accuracies):.1f}{spread} over {len(accuracies)} "
        f"experts{paper}."
    )


EXPERIMENT: Final = Experiment(name="table1", title=_TITLE, jobs=jobs, outcome=outcome)
"""Table 1."""
