"""Table 3: the number of timesteps M from start to target, with several numbers of images per class."""

from typing import Final

from mct.reproduce import arms, published
from mct.reproduce.experiment import Experiment, Outcome, Setting
from mct.reproduce.job import Job
from mct.reproduce.published import Value
from mct.reproduce.scale import Scale
from mct.reproduce.table import Cell, Contrast, Table

_TITLE: Final = "accuracy in percent of MCT, by number of timesteps M from start to target"


def run_of(scale: Scale, ipc: int, steps: int, seed: int) -> Job:
    """Return the distillation of one number of the table."""
    settings = {**scale.table3, "expert_steps": steps}
    return arms.distilled(scale, scale.main, "MCT", ipc, seed, note=f"m{steps}", **settings)


def jobs(scale: Scale, seeds: int) -> list[Job]:
    """Return the tests of all numbers of the table."""
    return [
        arms.tested(scale, scale.main, run_of(scale, ipc, steps, seed))
        for seed in range(seeds)
        for ipc in scale.ipcs3
        for steps in scale.expert_steps
    ]


def outcome(setting: Setting) -> Outcome:
    """Return the table."""
    scale = setting.scale
    cells = {
        (ipc, steps): Cell(
            row=f"ipc {ipc}",
            column=f"M = {steps}",
            planned=setting.seeds,
            published=_published(ipc, steps),
            **setting.tests(
                [
                    arms.tested(scale, scale.main, run_of(scale, ipc, steps, seed))
                    for seed in range(setting.seeds)
                ]
            ),
        )
        for ipc in scale.ipcs3
        for steps in scale.expert_steps
    }
    contrasts = []
    for ipc in scale.ipcs3:
        best = _best(ipc)
        if (ipc, best) in cells:
            contrasts += [
                Contrast(
                    name=f"M = {best} - M = {steps}, ipc {ipc}",
                    pairs=((cells[ipc, best], cells[ipc, steps]),),
                    published=_difference(ipc, best, steps),
                )
                for steps in scale.expert_steps
                if steps != best
            ]
    table = Table(
        name="table3",
        title=f"Table 3: {_TITLE}; {scale.main.title}, at scale {scale.name}",
        cells=tuple(cells.values()),
        contrasts=tuple(contrasts),
        findings=tuple(_finding(cells, scale, ipc) for ipc in scale.ipcs3),
        remarks=scale.remarks("table3"),
    )
    return Outcome(tables=(table,))


def _finding(cells: dict[tuple[int, int], Cell], scale: Scale, ipc: int) -> str:
    """Return which M is best, as a sentence."""
    means = {steps: cells[ipc, steps].mean for steps in scale.expert_steps}
    known = {steps: mean for steps, mean in means.items() if mean is not None}
    paper = f"in the paper: {_best(ipc)}"
    if len(known) < len(means):
        return f"Best M for ipc {ipc}: - ({paper})."
    best = [str(steps) for steps, mean in known.items() if mean == max(known.values())]
    return f"Best M for ipc {ipc}: {' and '.join(best)} ({paper})."


def _published(ipc: int, steps: int) -> Value | None:
    if steps not in published.STEPS or ipc not in published.TABLE3:
        return None
    return published.TABLE3[ipc][published.STEPS.index(steps)]


def _best(ipc: int) -> int:
    values = published.TABLE3[ipc]
    return published.STEPS[max(range(len(values)), key=lambda number: values[number].mean)]


def _difference(ipc: int, one: int, other: int) -> float | None:
    values = [_published(ipc, steps) for steps in (one, other)]
    means = [value.mean for value in values if value is not None]
    return means[0] - means[1] if len(means) == 2 else None


EXPERIMENT: Final = Experiment(name="table3", title=_TITLE, jobs=jobs, outcome=outcome)
"""Table 3."""
