"""Figures 1 to 5: trajectories, convergence, bytes, sampling, and images."""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import trajfmt
from mct.plots import curves, images
from mct.plots.curves import Curve
from mct.plots.landscape import Landscape
from mct.plots.profile import Profile
from mct.reproduce import arms, published, table2
from mct.reproduce.experiment import Experiment, Outcome, Setting
from mct.reproduce.job import Job
from mct.reproduce.place import RUN, bundle_of
from mct.reproduce.scale import DataSize, Scale
from trajfmt.plots import Plot, Size, Storage

_METHODS: Final = ("MTT", "MCT")

_PICTURES: Final = (("CIFAR-10", 10, "a"), ("CIFAR-100", 1, "b"))
"""Figure 5: data set, images per class, and panel."""


def _runs(scale: Scale, size: DataSize, method: str, ipc: int, seeds: int) -> list[Job]:
    return [arms.distilled(scale, size, method, ipc, seed) for seed in range(seeds)]


def _all_runs(scale: Scale, seeds: int) -> list[Job]:
    return [
        run
        for size in scale.data
        for ipc in size.ipcs
        for method in _METHODS
        for run in _runs(scale, size, method, ipc, seeds)
    ]


def _curves(setting: Setting, size: DataSize) -> list[Curve]:
    """Return the mean curve of each method and number of images, where a run is finished."""
    found = [
        setting.curve(f"{method} ipc {ipc}", _runs(setting.scale, size, method, ipc, setting.seeds))
        for ipc in size.ipcs
        for method in _METHODS
    ]
    return [curve for curve in found if curve is not None]


def _convergence(setting: Setting) -> list[str]:
    """Return the outer steps to convergence of each method, over seeds, as sentences."""
    lines = []
    for size in setting.scale.data:
        for ipc in size.ipcs:
            words = []
            for method in _METHODS:
                runs = _runs(setting.scale, size, method, ipc, setting.seeds)
                found = [setting.curve(method, [run]) for run in runs]
                steps = [float(curve.converged or 0) for curve in found if curve is not None]
                words.append(f"{method} {_spread(steps)}")
            lines.append(f"Outer steps to convergence, {size.title} ipc {ipc}: {', '.join(words)}.")
    return lines


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    deviation = f" ± {statistics.stdev(values):.0f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.0f}{deviation} (n = {len(values)})"


def _fig1(setting: Setting) -> Outcome:
    figures: dict[str, Plot] = {}
    found = setting.along(arms.along(setting.scale, setting.scale.main))
    if found is not None:
        figures["fig1a"] = Landscape(found)
    bars = [
        Curve(
            name=f"{size.title}, {curve.name}", steps=curve.steps, mean=curve.mean, std=curve.std, on=curve.on
        )
        for size in setting.scale.data
        for curve in _curves(setting, size)
    ]
    if bars:
        figures["fig1b"] = curves.Convergence(bars)
    return Outcome(figures=figures, notes=tuple(_convergence(setting)))


def _fig2(setting: Setting) -> Outcome:
    found = setting.along(arms.along(setting.scale, setting.scale.main))
    if found is None:
        return Outcome()
    falls = [
        f"Falls of the test accuracy from one timestep to the next along the {way} trajectory: "
        f"{sum(after.accuracy < before.accuracy for before, after in pairwise(points))} "
        f"of {len(points) - 1}."
        for way in found.ways
        if (points := found.of(way))
    ]
    return Outcome(figures={"fig2": Profile(found)}, notes=tuple(falls))


def _fig3(setting: Setting) -> Outcome:
    figures: dict[str, Plot] = {}
    notes = []
    for panel, paper in (("a", "CIFAR-10"), ("b", "CIFAR-100")):
        size = setting.scale.of(paper)
        if size is None:
            notes.append(f"Figure 3({panel}): the scale {setting.scale.name} has no {paper}.")
        elif drawn := _curves(setting, size):
            figures[f"fig3{panel}"] = curves.Curves(drawn)
    sizes = []
    for size in setting.scale.data:
        job = arms.convexified(size)
        facts = setting.found(job)
        if facts is None:
            continue
        with trajfmt.open(bundle_of(job, setting.folders)) as bundle:
            every = sum((bundle[number].last + 1) * bundle.layout.nbytes for number in range(len(bundle)))
            sizes.append(
                Size(name=size.title, trajectories=len(bundle), bundle=facts["bytes"], every_timestep=every)
            )
        mine = f"{facts['bytes']:,} of {every:,} bytes, {facts['bytes'] / every:.1%}"
        theirs = published.STORAGE.get(size.paper)
        paper = "" if theirs is None else f" (in the authors' code: {theirs[0] / theirs[1]:.1%})"
        notes.append(f"Convexified trajectories of {size.title}: {mine}{paper}.")
    if sizes:
        figures["fig3c"] = Storage(sizes=tuple(sizes))
    return Outcome(figures=figures, notes=(*notes, *_convergence(setting)))


def _fig4(setting: Setting) -> Outcome:
    figures: dict[str, Plot] = {}
    for count in setting.scale.trajectories:
        drawn = [
            setting.curve(
                f"{sampling}, {count} trajector{'y' if count == 1 else 'ies'}",
                [table2.run_of(setting.scale, sampling, count, seed) for seed in range(setting.seeds)],
            )
            for sampling in ("discrete", "continuous")
        ]
        if known := [curve for curve in drawn if curve is not None]:
            figures[f"fig4-{count}"] = curves.Curves(known)
    return Outcome(figures=figures)


def _fig4_jobs(scale: Scale, seeds: int) -> list[Job]:
    return [
        table2.run_of(scale, sampling, count, seed)
        for seed in range(seeds)
        for count in scale.trajectories
        for sampling in ("discrete", "continuous")
    ]


def _pictures(scale: Scale) -> dict[str, Job]:
    """Return the runs whose images are shown, by panel."""
    found = {}
    for paper, ipc, panel in _PICTURES:
        size = scale.of(paper)
        if size is not None and ipc in size.ipcs:
            found[panel] = arms.distilled(scale, size, "MCT", ipc, 0)
    return found


def _fig5(setting: Setting) -> Outcome:
    done = {panel: run for panel, run in _pictures(setting.scale).items() if setting.found(run) is not None}
    figures: dict[str, Plot] = {
        f"fig5{panel}": images.images(setting.folders.of(run) / RUN) for panel, run in done.items()
    }
    missing = [
        f"Figure 5({panel}): the scale {setting.scale.name} has no {paper} with ipc {ipc}."
        for paper, ipc, panel in _PICTURES
        if panel not in _pictures(setting.scale)
    ]
    return Outcome(figures=figures, notes=tuple(missing))


FIGURES: Final = (
    Experiment(
        name="fig1",
        title="the landscape around a trajectory, and the outer steps to convergence",
        jobs=lambda scale, seeds: [arms.along(scale, scale.main), *_all_runs(scale, seeds)],
        outcome=_fig1,
    ),
    Experiment(
        name="fig2",
        title="test accuracy along a trajectory",
        jobs=lambda scale, _seeds: [arms.along(scale, scale.main)],
        outcome=_fig2,
    ),
    Experiment(
        name="fig3",
        title="accuracy over the outer steps of MCT and MTT, and the bytes of their trajectories",
        jobs=lambda scale, seeds: [*map(arms.convexified, scale.data), *_all_runs(scale, seeds)],
        outcome=_fig3,
    ),
    Experiment(
        name="fig4",
        title="accuracy over the outer steps with discrete and with continuous sampling",
        jobs=_fig4_jobs,
        outcome=_fig4,
    ),
    Experiment(
        name="fig5",
        title="distilled images",
        jobs=lambda scale, _seeds: list(_pictures(scale).values()),
        outcome=_fig5,
    ),
)
"""The figures."""
