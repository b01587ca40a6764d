"""The accuracy of every class of runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
figures = pytest.importorskip("matplotlib.figure")
from mct.errors import ConfigError, ResultError  # noqa: E402
from mct.plots.classes import ClassAccuracy, Classes, classes  # noqa: E402
from mct.results import synthetic  # noqa: E402
from tests.helpers.made import made  # noqa: E402
from trajfmt.plots import render  # noqa: E402


def line(step: int, mean: float, shares: list[float | None] | None) -> str:
    """Return a line of metrics with an evaluation."""
    accuracy = {"mean": mean, "networks": [mean], "on": "heldout"}
    if shares is not None:
        accuracy["by_class"] = shares
    return json.dumps({"step": step, "accuracy": accuracy}) + "\n"


def test_the_best_evaluation_counts_and_a_test_before_it(tmp_path: Path, digits) -> None:
    """Runs of earlier versions recorded none, which the message says."""
    synthetic.save(tmp_path / synthetic.RESULT_NAME, made(digits), digits)
    low, high, final = [0.1] * 10, [0.2] * 9 + [None], [0.3] * 10
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(line(0, 0.5, low) + line(10, 0.7, high) + line(20, 0.6, low))
    (run,) = classes([tmp_path]).runs
    assert (run.shares, run.step, run.on) == (tuple(high), 10, "heldout")
    test = {"outer_step": 10, "accuracy": {"mean": 0.65, "on": "test", "by_class": final}}
    (tmp_path / "test.json").write_text(json.dumps(test))
    (run,) = classes([tmp_path]).runs
    assert (run.shares, run.on) == (tuple(final), "test")
    (tmp_path / "test.json").unlink()
    metrics.write_text(line(0, 0.5, None))
    with pytest.raises(ResultError, match="no evaluation has recorded the accuracy of every class"):
        classes([tmp_path])
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("count", [3, 60])
def test_marks_are_sorted_by_the_first_run(count: int) -> None:
    """A class without images has no mark; names are shown where there is room, and are no formulas."""
    first = ClassAccuracy(name="$one", shares=tuple(k / count for k in range(count)), step=1, on="test")
    second = replace(first, name="two", shares=(None, *first.shares[1:][::-1]))
    names = tuple(f"$class {k}" for k in range(count))
    plot = Classes(runs=[first, second], class_names=names)
    figure = figures.Figure(figsize=plot.size)
    plot.paint(figure)
    (axes,) = figure.axes
    one, two = axes.lines
    assert list(one.get_xdata()) == pytest.approx([100 * k / count for k in reversed(range(count))])
    assert list(one.get_ydata()) == list(range(count))
    assert len(two.get_xdata()) == count - 1
    texts = [text.get_text() for text in axes.get_yticklabels()]
    assert (texts == list(reversed(names))) == (count == 3)
    assert [row[:5] for row in plot.table().rows[:2]] == [
        ("$one", 1, "test", 0, "$class 0"), ("$one", 1, "test", 1, "$class 1"),
    ]  # fmt: skip
    assert render(plot, "svg").startswith(b"<?xml")


def test_runs_that_do_not_fit_are_refused() -> None:
    """Other classes, too many runs, and none."""
    run = ClassAccuracy(name="a", shares=(0.5,), step=1, on=None)
    for runs, words in (([], "at least one run"), ([run] * 6, "at most 5 runs"),
                        ([run, replace(run, shares=(0.5, 0.5))], "other numbers of classes")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            Classes(runs=runs, class_names=("a",))
