"""Table 2: continuous against discrete sampling, with several numbers of expert trajectories."""

from typing import Final

from mct.reproduce import arms, published
from mct.reproduce.experiment import Experiment, Outcome, Setting
from mct.reproduce.job import Job
from mct.reproduce.published import Value
from mct.reproduce.scale import Scale
from mct.reproduce.table import Cell, Contrast, Table

_TITLE: Final = "accuracy in percent with discrete and with continuous sampling, by number of trajectories"
_SAMPLINGS: Final = ("discrete", "continuous")


def run_of(scale: Scale, sampling: str, count: int, seed: int) -> Job:
    """Return the distillation of one number of the table."""
    return arms.distilled(
        scale,
        scale.main,
        "MCT",
        scale.ipc2,
        seed,
        note=f"{count}-{sampling}",
        **{**scale.table2, "trajectories": count, "sampling": sampling},
    )


def jobs(scale: Scale, seeds: int) -> list[Job]:
    """Return the tests of all numbers of the table."""
    return [
        arms.tested(scale, scale.main, run_of(scale, sampling, count, seed))
        for seed in range(seeds)
        for count in scale.trajectories
        for sampling in _SAMPLINGS
    ]


def outcome(setting: Setting) -> Outcome:
    """Return the table."""
    scale = setting.scale
    cells = {
        (sampling, count): Cell(
            row=sampling,
            column=str(count),
            planned=setting.seeds,
            published=_published(sampling, count),
            **setting.tests(
                [
                    arms.tested(scale, scale.main, run_of(scale, sampling, count, seed))
                    for seed in range(setting.seeds)
                ]
            ),
        )
        for sampling in _SAMPLINGS
        for count in scale.trajectories
    }
    pairs = {count: (cells["continuous", count], cells["discrete", count]) for count in scale.trajectories}
    contrasts = [
        Contrast(name=f"continuous - discrete, {count}", pairs=(pair,), published=_difference(count))
        for count, pair in pairs.items()
    ]
    gains = [_difference(count) for count in published.COUNTS]
    mean = sum(gain for gain in gains if gain is not None) / len(gains)
    contrasts.append(
        Contrast(name="continuous - discrete, mean of all", pairs=tuple(pairs.values()), published=mean)
    )
    table = Table(
        name="table2",
        title=f"Table 2: {_TITLE}; {scale.main.title}, ipc {scale.ipc2}, at scale {scale.name}",
        cells=tuple(cells.values()),
        contrasts=tuple(contrasts),
        remarks=scale.remarks("table2"),
    )
    return Outcome(tables=(table,))


def _published(sampling: str, count: int) -> Value | None:
    if count not in published.COUNTS:
        return None
    return published.TABLE2[sampling][published.COUNTS.index(count)]


def _difference(count: int) -> float | None:
    one, other = (_published(sampling, count) for sampling in ("continuous", "discrete"))
    return None if one is None or other is None else one.mean - other.mean


EXPERIMENT: Final = Experiment(name="table2", title=_TITLE, jobs=jobs, outcome=outcome)
"""Table 2."""
