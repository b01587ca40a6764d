"""Curves of runs and their convergence points."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
figures = pytest.importorskip("matplotlib.figure")
image = pytest.importorskip("PIL.Image")

from mct.errors import ConfigError, CorruptError, MissingError, ResultError  # noqa: E402
from mct.plots import curves  # noqa: E402
from trajfmt.plots import Page, Plot, render  # noqa: E402


def write(path: Path, evaluations: dict[int, float], *, steps: int = 40, on: str | None = "test") -> Path:
    """Write the metrics of a run: one line per step, an accuracy where `evaluations` has one."""
    path.mkdir(parents=True)
    lines = []
    for step in range(1, steps + 1):
        line: dict[str, object] = {"step": step, "loss": 0.5, "trajectory": 0, "seconds": 0.1}
        if step in evaluations:
            line["accuracy"] = {
                "mean": evaluations[step],
                "std": 0.01,
                "networks": [0.1],
                "learning_rate": 0.1,
            }
            if on is not None:
                line["accuracy"] |= {"on": on}
        lines.append(json.dumps(line, sort_keys=True) + "\n")
    (path / "metrics.jsonl").write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.10, 0.45, 0.47, 0.40], 3),  # exactly two points below is not less than two
        ([0.28, 0.30], 2),  # the same, where the difference in binary is a little less than 0.02
        ([0.10, 0.4501, 0.47, 0.40], 2),  # the first within two points of the largest
        ([0.10, 0.46, 0.20, 0.47], 2),  # whatever comes between
        ([0.47, 0.10, 0.10, 0.10], 1),
        ([0.1, 0.2, 0.3, 0.4], 4),
        ([0.3], 1),
        ([0.0, 0.0], 1),
        ([0.010, 0.012, 0.029], 1),  # points of accuracy, not a share of the largest
    ],
)
def test_convergence_point(accuracies: list[float], expected: int) -> None:
    """The first evaluated step that is less than two points below the largest accuracy."""
    assert curves.convergence_point(range(1, len(accuracies) + 1), accuracies) == expected


def test_convergence_point_returns_the_step() -> None:
    """It is the step's number, not its place; a wider epsilon comes earlier."""
    steps, accuracies = [100, 250, 900], [0.3, 0.45, 0.5]
    assert [curves.convergence_point(steps, accuracies, e) for e in (0.02, 0.1, 0.5)] == [900, 250, 100]


@pytest.mark.parametrize(
    "arguments", [([], []), ([1, 2], [0.1]), ([1], [0.1], 0.0), ([1], [0.1], float("nan"))]
)
def test_convergence_point_needs_accuracies(arguments) -> None:
    """No accuracy, other lengths, and an epsilon without meaning are refused."""
    with pytest.raises(ConfigError):
        curves.convergence_point(*arguments)


def test_curve_of_a_run(tmp_path: Path) -> None:
    """Steps without an evaluation are passed over; the folder gives the name."""
    found = curves.curve(write(tmp_path / "mct", {10: 0.25, 20: 0.5, 40: 0.51}))
    assert found == curves.Curve(name="mct", steps=(10, 20, 40), mean=(0.25, 0.5, 0.51),
                                 std=(0.01, 0.01, 0.01), on="test", done=40)  # fmt: skip
    assert found.converged == 20


@pytest.mark.parametrize("cut", [1, 30, 120])
def test_torn_last_line_is_passed_over(tmp_path: Path, cut: int) -> None:
    """A run that is writing can be drawn."""
    metrics = write(tmp_path / "a", {10: 0.25, 40: 0.5}) / "metrics.jsonl"
    data = metrics.read_bytes()
    metrics.write_bytes(data[:-cut])
    expected = (10, 40) if cut == 1 else (10,)  # without its newline the line is whole
    assert curves.curve(tmp_path / "a").steps == expected


def test_line_that_is_no_step_is_named(tmp_path: Path) -> None:
    """Only the last line may be torn."""
    metrics = write(tmp_path / "a", {10: 0.25}) / "metrics.jsonl"
    for bad in (
        b'{"step": 3',
        b'{"step": "3"}',
        b'{"step": 3, "accuracy": {"mean": NaN, "std": 0}}',
        b"\xff",
    ):
        lines = metrics.read_bytes().splitlines()
        lines[2] = bad
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / "metrics.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        with pytest.raises(CorruptError, match=r"metrics\.jsonl: line 3 "):
            curves.curve(tmp_path / "b")


def test_run_without_evaluations(tmp_path: Path) -> None:
    """The message says how many steps there are and which option evaluates."""
    with pytest.raises(ResultError, match=r"none of the 40 outer steps was evaluated.*--eval-every"):
        curves.curve(write(tmp_path / "a", {}))
    (tmp_path / "a" / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(ResultError, match="none of the 0 outer steps"):
        curves.curve(tmp_path / "a")


def test_no_run(tmp_path: Path) -> None:
    """A folder that is absent and one without metrics are told apart."""
    with pytest.raises(MissingError, match="no such folder"):
        curves.curve(tmp_path / "a")
    with pytest.raises(MissingError, match=r"contains no metrics\.jsonl"):
        curves.curve(tmp_path)


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Names are as short as they can be."""
    paths = [write(tmp_path / name, {10: 0.1}) for name in ("x/run", "y/run", "z")]
    assert [found.name for found in curves.curves(paths[:2])] == ["x/run", "y/run"]
    assert [found.name for found in curves.curves(paths[1:])] == ["run", "z"]
    assert [found.name for found in curves.curves([paths[2], paths[2]])] == ["z", "z"]


def test_mixed_test_sets_are_not_named(tmp_path: Path) -> None:
    """A curve says what it was tested on only where that is known and one."""
    path = write(tmp_path / "a", {10: 0.1}, steps=10)
    more = write(tmp_path / "b", {20: 0.1}, steps=20, on="heldout") / "metrics.jsonl"
    assert curves.curve(write(tmp_path / "c", {10: 0.1}, on=None)).on is None
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(more.read_bytes())
    assert curves.curve(path).on is None


def run(name: str = "a", *, on: str | None = "test", high: float = 0.6) -> curves.Curve:
    """Return a run of three evaluations."""
    return curves.Curve(name=name, steps=(0, 50, 100), mean=(0.0, 0.5, high), std=(0.0, 0.01, 0.02), on=on)


def painted(plot: Plot) -> Any:
    """Draw a plot, and return its axes."""
    figure = figures.Figure()
    plot.paint(figure)
    return figure.axes[0]


def test_picture_has_a_colour_for_each_run() -> None:
    """Their lines are in it, and nothing is logged or warned of."""
    data = render(curves.Curves([run("mct"), run("mtt", high=0.4)]), "png", Page(dpi=100))
    with image.open(io.BytesIO(data)) as picture:
        found = np.asarray(picture.convert("RGB"))
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (found == colour).all(axis=2).sum() > 50


@pytest.mark.parametrize(("epsilon", "step", "accuracy"), [(0.2, 50, 50.0), (0.1, 100, 60.0)])
def test_star_stands_at_the_convergence_point(epsilon: float, step: int, accuracy: float) -> None:
    """Drawn at its step and accuracy, named in the legend, and marked in the table."""
    plot = curves.Curves([run()], epsilon)
    axes = painted(plot)
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    assert (star.get_xdata(), star.get_ydata()) == ([step], [accuracy])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [f"a: ★ at {step}"]
    assert [row[1] for row in plot.table().rows if row[-1]] == [step]


def test_numbers_of_curves_and_of_convergence() -> None:
    """Accuracies as they are in the metrics, and the same steps in both tables."""
    runs = [run("a"), run("b", high=0.5, on=None)]
    assert curves.Curves(runs).table().csv().decode() == (
        "run,outer_step,accuracy_fraction,accuracy_std_fraction,tested_on,converged\n"
        "a,0,0.0,0.0,test,false\na,50,0.5,0.01,test,false\na,100,0.6,0.02,test,true\n"
        "b,0,0.0,0.0,,false\nb,50,0.5,0.01,,true\nb,100,0.5,0.02,,false\n"
    )
    plot = curves.Convergence(runs)
    assert plot.table().csv().decode() == (
        "run,outer_steps,accuracy_fraction,best_accuracy_fraction,tested_on\na,100,0.6,0.6,test\nb,50,0.5,0.5,\n"
    )
    axes = painted(plot)
    assert [bar.get_width() for bar in axes.patches] == [100, 50]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert plot.size[1] > curves.Convergence(runs[:1]).size[1]


def test_what_networks_were_tested_on_is_said_once_or_for_each_run() -> None:
    """On the axis if all runs have it in common, and in the legend otherwise."""
    assert painted(curves.Curves([run()])).get_ylabel() == "accuracy on test images (%)"
    assert painted(curves.Curves([run(on="heldout")])).get_ylabel() == "accuracy on held-out images (%)"
    axes = painted(curves.Curves([run(), run("b", on="heldout"), run("c", on=None)]))
    assert axes.get_ylabel() == "accuracy (%)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "a: ★ at 100, test images",
        "b: ★ at 100, held-out images",
        "c: ★ at 100",
    ]


@pytest.mark.parametrize("name", ["_hidden", "a$b$c_{", "数据", "tab\there", "\\frac"])
def test_any_folder_name_can_be_drawn(name: str) -> None:
    """Names mean nothing to matplotlib, and no warning comes of them."""
    assert render(curves.Curves([run(name)]), "png", Page(dpi=40)).startswith(b"\x89PNG")


def test_many_runs_and_none() -> None:
    """Colours start again with other dashes; no run is an error."""
    many = curves.Curves([run()] * 9)
    assert many.size[0] > curves.Curves([run()]).size[0]  # their names are beside the curves
    lines = painted(many).lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines if line.get_marker() == "."}) == 9
    for kind in (curves.Curves, curves.Convergence):
        with pytest.raises(ConfigError, match="no run"):
            kind([])


def test_one_evaluation_is_no_convergence(tmp_path: Path) -> None:
    """The curve has no star, the table no converged row, and the bars refuse the run."""
    run = curves.curve(write(tmp_path / "once", {10: 0.4}))
    assert run.converged is None
    assert [row[-1] for row in curves.Curves([run]).table().rows] == [False]
    with pytest.raises(ResultError, match="once has one evaluation, which shows no convergence"):
        curves.Convergence([run])
    twice = curves.curve(write(tmp_path / "twice", {10: 0.4, 20: 0.41}))
    assert twice.converged == 10


def test_one_network_has_no_deviation(tmp_path: Path) -> None:
    """The figure has no band, and the cell of the table is empty."""
    lines = [{"step": n, "accuracy": {"mean": n / 4, "std": None, "networks": [n / 4]}} for n in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    drawn = curves.Curves([curves.curve(tmp_path, name="run")])
    assert drawn.table().csv().splitlines()[1:] == [b"run,1,0.25,,,false", b"run,2,0.5,,,true"]
    assert render(drawn, "svg").startswith(b"<?xml")
