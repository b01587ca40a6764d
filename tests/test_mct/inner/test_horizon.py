"""The number of inner steps of a sample."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch")
from mct.inner.horizon import steps_of
from mct.settings.config import DistillConfig


def test_numbers_are_uniform_between_their_bounds() -> None:
    """Both bounds occur; samples of a step have numbers of their own, other seeds other ones."""
    config = DistillConfig(inner_steps=7, min_steps=4)
    drawn = [steps_of(config, step, 0) for step in range(400)]
    counts = Counter(drawn)
    assert sorted(counts) == [4, 5, 6, 7]
    assert min(counts.values()) > 70  # three and a half standard deviations below 100
    assert drawn == [steps_of(config, step, 0) for step in range(400)]
    assert drawn != [steps_of(config, step, 1) for step in range(400)]
    other = DistillConfig(inner_steps=7, min_steps=4, seed=1)
    assert drawn != [steps_of(other, step, 0) for step in range(400)]


def test_a_number_is_used_for_several_outer_steps() -> None:
    """As many as `steps_every`; without `min_steps` it is always the same."""
    config = DistillConfig(inner_steps=50, min_steps=1, steps_every=5)
    drawn = [steps_of(config, step, 2) for step in range(20)]
    assert [len(set(drawn[k : k + 5])) for k in (0, 5, 10, 15)] == [1, 1, 1, 1]
    assert len(set(drawn)) > 1
    assert {steps_of(DistillConfig(inner_steps=9), step, 0) for step in range(5)} == {9}
