"""The metrics of a run, whole, torn and damaged."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
from mct.errors import CorruptError, MissingError
from mct.reports.metrics import MOST, curve, read


def test_lines_are_read_and_a_torn_one_is_left(tmp_path: Path) -> None:
    """A run in progress may be writing the last line."""
    line = json.dumps({"step": 1, "loss": 0.5, "parts": {"read": 1.0}, "other": 3})
    (tmp_path / "metrics.jsonl").write_text(
        f'{{"step": 0, "accuracy": {{"mean": 1, "std": 0}}}}\n{line}\n{{"st'
    )
    before, first = read(tmp_path)
    assert before.loss is None
    assert before.accuracy is not None
    assert (first.step, first.loss, first.parts) == (1, 0.5, {"read": 1.0})


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    """Only the last line may be incomplete."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(CorruptError, match="line 2 is not a valid outer step"):
        read(tmp_path)


def test_no_run(tmp_path: Path) -> None:
    """A folder without metrics, and no folder at all."""
    with pytest.raises(MissingError, match=r"contains no metrics.*; give the folder of a run"):
        read(tmp_path)
    with pytest.raises(MissingError, match="no such folder"):
        read(tmp_path / "absent")


@given(st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_points_hold_every_step_once(count: int, seed: int) -> None:
    """The mean over all steps, the smallest and the largest value survive the thinning."""
    values = [((7919 * (n + seed)) % 1009) / 1009 for n in range(count)]
    found = curve(list(enumerate(values, start=1)))
    assert len(found.steps) == min(count, MOST)
    assert min(found.low) == min(values)
    assert max(found.high) == max(values)
    assert all(a <= b <= c for a, b, c in zip(found.low, found.mean, found.high, strict=True) if a < c)
    assert list(found.steps) == sorted(found.steps)


def test_no_steps_have_no_points() -> None:
    """A run that has just begun has an empty curve."""
    assert curve([]).steps == ()
