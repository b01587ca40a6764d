"""DD-Ranking's four scores, from the accuracies of one run.

HLR compares hard labels with the real dataset, IOR compares the set's own evaluation with that of random real
images, LRS combines both, and ARS is the improvement over random with and without augmentation:

    HLR = acc(real, hard) - acc(synthetic, hard)                    lower is better
    IOR = acc(synthetic, any) - acc(random, any)                    higher is better
    LRS = s(w IOR - (1 - w) HLR)
    ARS = s(g IOR_augmented + (1 - g) IOR_plain)
    s(x) = (e^x - e^-1) / (e - e^-1), which maps [-1, 1] to [0, 1]

References:
    Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The accuracies of one run, in [0, 1]. `own` are the labels with which the set is evaluated."""

    real: float
    """All real images, hard labels."""

    hard: float
    """The synthetic images, hard labels; not augmented, unless hard labels are also their own."""

    own: float
    """The synthetic images, their own labels, augmented."""

    random: float
    """Random real images, labels of the same kind, augmented."""

    plain: float
    """The synthetic images, their own labels, not augmented."""

    random_plain: float
    """Random real images, labels of the same kind, not augmented."""

    random_hard: float | None
    """Random real images, hard labels: a baseline that no score uses. None: not evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of one run, or their mean or standard deviation over runs."""

    hlr: float
    """Hard-Label Recovery, a difference of accuracies in [-1, 1]; lower is better."""

    ior: float
    """Improvement over Random, a difference of accuracies in [-1, 1]; higher is better."""

    lrs: float
    """Label-Robust Score in [0, 1]; higher is better."""

    ars: float
    """Augmentation-Robust Score in [0, 1]; higher is better."""

    lrs_percent: float
    """LRS as ddranking 0.2.0 computes it, with percentages in place of shares in the exponential."""

    ars_percent: float
    """ARS as ddranking 0.2.0 computes it, with percentages in place of shares in the exponential."""


def normalised(value: float) -> float:
    """Map [-1, 1] to [0, 1] by DD-Ranking's exponential.

    Example:
        >>> normalised(-1.0), normalised(1.0)
        (0.0, 1.0)
    """
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def scores_of(run: Measured, weight: float) -> Scores:
    """Return the scores of one run.

    Args:
        run: The accuracies.
        weight: Weight of the first term in LRS and in ARS, in [0, 1].

    Example:
        >>> same = Measured(
        ...     real=0.5, hard=0.5, own=0.4, random=0.4, plain=0.3, random_plain=0.3, random_hard=0.4
        ... )
        >>> found = scores_of(same, 0.5)
        >>> found.hlr, found.ior, round(found.lrs, 3), found.lrs == found.ars
        (0.0, 0.0, 0.269, True)
    """
    hlr, ior = run.real - run.hard, run.own - run.random
    labels = weight * ior - (1 - weight) * hlr
    augmentation = weight * ior + (1 - weight) * (run.plain - run.random_plain)
    return Scores(
        hlr=hlr,
        ior=ior,
        lrs=normalised(labels),
        ars=normalised(augmentation),
        lrs_percent=normalised(100 * labels),
        ars_percent=normalised(100 * augmentation),
    )


def mean_and_std(runs: Sequence[Scores]) -> tuple[Scores, Scores | None]:
    """Return the mean and the population standard deviation of every score; one run has no deviation.

    Args:
        runs: The scores of each run, at least one.
    """
    values = {field.name: [float(getattr(run, field.name)) for run in runs] for field in fields(Scores)}
    mean = Scores(**{name: statistics.fmean(each) for name, each in values.items()})
    if len(runs) == 1:
        return mean, None
    return mean, Scores(**{name: statistics.pstdev(each) for name, each in values.items()})
