"""Curves of runs and their convergence points."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")

from mct.errors import ConfigError, CorruptError, MissingError, ResultError  # noqa: E402
from mct.plots import curves  # noqa: E402


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
    (path / curves.METRICS).write_text("".join(lines))
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
                                 std=(0.01, 0.01, 0.01), on="test")  # fmt: skip
    assert found.converged == 20


@pytest.mark.parametrize("cut", [1, 30, 120])
def test_torn_last_line_is_passed_over(tmp_path: Path, cut: int) -> None:
    """A run that is writing can be drawn."""
    metrics = write(tmp_path / "a", {10: 0.25, 40: 0.5}) / curves.METRICS
    data = metrics.read_bytes()
    metrics.write_bytes(data[:-cut])
    expected = (10, 40) if cut == 1 else (10,)  # without its newline the line is whole
    assert curves.curve(tmp_path / "a").steps == expected


def test_line_that_is_no_step_is_named(tmp_path: Path) -> None:
    """Only the last line may be torn."""
    metrics = write(tmp_path / "a", {10: 0.25}) / curves.METRICS
    for bad in (
        b'{"step": 3',
        b'{"step": "3"}',
        b'{"step": 3, "accuracy": {"mean": NaN, "std": 0}}',
        b"\xff",
    ):
        lines = metrics.read_bytes().splitlines()
        lines[2] = bad
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / curves.METRICS).write_bytes(b"\n".join(lines) + b"\n")
        with pytest.raises(CorruptError, match=r"metrics\.jsonl: line 3 "):
            curves.curve(tmp_path / "b")


def test_run_without_evaluations(tmp_path: Path) -> None:
    """The message says how many steps there are and which option evaluates."""
    with pytest.raises(ResultError, match=r"none of the 40 outer steps was evaluated.*--eval-every"):
        curves.curve(write(tmp_path / "a", {}))
    (tmp_path / "a" / curves.METRICS).write_bytes(b"")
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
    more = write(tmp_path / "b", {20: 0.1}, steps=20, on="heldout") / curves.METRICS
    assert curves.curve(write(tmp_path / "c", {10: 0.1}, on=None)).on is None
    with (path / curves.METRICS).open("ab") as file:
        file.write(more.read_bytes())
    assert curves.curve(path).on is None


def pixels(data: bytes) -> np.ndarray:
    """Decode a PNG."""
    return np.asarray(image.open(io.BytesIO(data)).convert("RGB"))


def test_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A PNG of known size, the same bytes again, a colour for each run, and nothing logged."""
    runs = curves.curves([write(tmp_path / name, {10: 0.1, 20: high, 40: 0.4}) for name, high in
                          (("mct", 0.45), ("mtt", 0.2))])  # fmt: skip
    caplog.set_level(logging.WARNING)
    data = curves.draw(runs)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"Software" not in data
    assert data == curves.draw(runs)
    found = pixels(data)
    assert found.shape == (560, 900, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (found == colour).all(axis=2).sum() > 200
    assert data != curves.draw(runs[:1])
    assert not caplog.records


def test_star_stands_at_the_convergence_point() -> None:
    """Drawn at its step and accuracy: moving epsilon moves it, and nothing else but the text."""
    run = curves.Curve(name="a", steps=(0, 50, 100), mean=(0.0, 0.5, 0.6), std=(0.0,) * 3)
    early, late = (pixels(curves.draw([run], epsilon=e)) for e in (0.2, 0.1))
    changed = (early != late).any(axis=2)
    columns = np.flatnonzero(changed[:400, 300:700].any(axis=0)) + 300
    assert 0 < len(columns) <= 30  # the star of step 50, in the middle of the x axis
    assert abs(columns.mean() - 480) < 30


@pytest.mark.parametrize("name", ["_hidden", "a$b$c_{", "数据", "tab\there", "\\frac"])
def test_any_folder_name_can_be_drawn(name: str) -> None:
    """Names mean nothing to matplotlib, and no warning comes of them."""
    run = curves.Curve(name=name, steps=(1, 2), mean=(0.1, 0.2), std=(0.0, 0.1))
    assert curves.draw([run]) != curves.draw(
        [curves.Curve(name="x", steps=run.steps, mean=run.mean, std=run.std)]
    )


def test_many_runs_and_none() -> None:
    """Colours start again with other dashes; no run is an error."""
    run = curves.Curve(name="a", steps=(1, 2), mean=(0.1, 0.2), std=(0.0, 0.1))
    assert pixels(curves.draw([run] * 9)).shape == (560, 900, 3)
    with pytest.raises(ConfigError, match="no run"):
        curves.draw([])
