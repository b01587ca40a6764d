"""DD-Ranking's four scores, in closed form."""

import math
from dataclasses import astuple

import pytest

from mct.evaluation.scores import Measured, mean_and_std, normalised, scores_of

RUN = Measured(real=0.9, hard=0.5, own=0.7, random=0.4, plain=0.6, random_plain=0.5, random_hard=None)


def test_scores_of_one_run() -> None:
    """HLR = 0.4 and IOR = 0.3; LRS and ARS are the exponential of their weighted sums."""
    found = scores_of(RUN, 0.25)
    assert (found.hlr, found.ior) == pytest.approx((0.4, 0.3))
    labels, augmentation = 0.25 * 0.3 - 0.75 * 0.4, 0.25 * 0.3 + 0.75 * 0.1
    scale = math.exp(1) - math.exp(-1)
    assert found.lrs == pytest.approx((math.exp(labels) - math.exp(-1)) / scale)
    assert found.ars == pytest.approx((math.exp(augmentation) - math.exp(-1)) / scale)
    assert found.lrs_percent == pytest.approx((math.exp(100 * labels) - math.exp(-1)) / scale)
    assert found.ars_percent == pytest.approx((math.exp(100 * augmentation) - math.exp(-1)) / scale)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_combined_scores_are_from_0_to_1(weight: float) -> None:
    """The worst and the best accuracies that are possible give the ends of the range."""
    worst = Measured(real=1, hard=0, own=0, random=1, plain=0, random_plain=1, random_hard=1)
    best = Measured(real=0, hard=1, own=1, random=0, plain=1, random_plain=0, random_hard=0)
    low, high = scores_of(worst, weight), scores_of(best, weight)
    assert (low.lrs, low.ars, high.lrs, high.ars) == pytest.approx((0, 0, 1, 1))
    assert normalised(0.0) == pytest.approx(1 / (math.e + 1))


def test_mean_and_population_deviation() -> None:
    """Scores are averaged over runs, not computed from averaged accuracies."""
    other = Measured(real=0.9, hard=0.9, own=0.9, random=0.4, plain=0.9, random_plain=0.5, random_hard=None)
    runs = [scores_of(run, 0.5) for run in (RUN, other)]
    mean, std = mean_and_std(runs)
    assert std is not None
    for a, b, middle, spread in zip(*map(astuple, (*runs, mean, std)), strict=True):
        assert middle == pytest.approx((a + b) / 2)
        assert spread == pytest.approx(abs(a - b) / 2)
    assert mean_and_std(runs[:1]) == (runs[0], None)
