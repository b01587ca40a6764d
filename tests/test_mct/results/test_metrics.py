"""The metrics of a run, whole, torn and damaged."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from mct.errors import CorruptError, MissingError
from mct.results.metrics import planned, read, read_test, until


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


def test_a_resumed_run_keeps_whole_lines_of_its_steps() -> None:
    """Later, torn and damaged lines go, and with no step done also the evaluation before the first one."""
    lines = [
        b'{"step": 0}\n',
        b'{"step": 1}\n',
        b'{"loss": 1}\n',
        b"nonsense\n",
        b'{"step": 2}\n',
        b'{"step": 1}',
    ]
    assert until(1, b"".join(lines)) == b"".join(lines[:2])
    assert until(0, b"".join(lines)) == b""


def test_a_test_is_read(tmp_path: Path) -> None:
    """None without the file, and an error that names it if it is damaged."""
    assert read_test(tmp_path) is None
    (tmp_path / "test.json").write_text('{"outer_step": 4, "accuracy": {"mean": 0.5, "on": "test"}}')
    found = read_test(tmp_path)
    assert found is not None
    assert (found.outer_step, found.accuracy.mean, found.accuracy.std) == (4, 0.5, None)
    (tmp_path / "test.json").write_text('{"outer_step": 4}')
    with pytest.raises(CorruptError, match=r"test\.json: not the test of a run"):
        read_test(tmp_path)


@pytest.mark.parametrize(
    ("content", "steps"),
    [
        ('{"settings": {"config": {"outer_steps": 200, "ipc": 1}}, "device": "cpu"}', 200),
        ('{"settings": {"config": {}}}', None),
        ("[", None),
        (None, None),
    ],
)
def test_the_number_of_steps_that_a_run_is_to_do(
    tmp_path: Path, content: str | None, steps: int | None
) -> None:
    """It is in the settings; a folder without them, or with others, does not say it."""
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    assert planned(tmp_path) == steps
