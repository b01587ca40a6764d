"""The files of an expert in training: what is written is read, and damage is noticed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mct.errors import CorruptError, ExistsError  # noqa: E402
from mct.experts.states import ExpertFile, Progress, Saved, saved_in  # noqa: E402

ROWS = [np.full(5, number, np.float32) for number in range(4)]


def saved(rows: int = 0, steps: int = 3) -> Saved:
    """Return a small state."""
    return Saved(
        progress=Progress(steps=steps, epochs=1, timesteps=2),
        total=torch.tensor([0.1, 2.0], dtype=torch.float64),
        learner={"weights": torch.arange(5.0), "momentum": torch.ones(5)},
        recorder={"rows.0": ROWS[0], "recent.0": ROWS[0], "count": np.array(2)},
        rows=ROWS[:rows],
    )


def file(path: Path, identity: bytes = b"one") -> ExpertFile:
    """Return the files of expert 7 of a run."""
    return ExpertFile(path / "a.mct", 7, identity)


def assert_same(found: Saved | None, expected: Saved) -> None:
    """Require two equal states."""
    assert found is not None
    assert (found.progress, found.total.tolist()) == (expected.progress, expected.total.tolist())
    assert {k: v.tolist() for k, v in found.learner.items()} == {
        k: v.tolist() for k, v in expected.learner.items()
    }
    assert {k: v.tobytes() for k, v in found.recorder.items()} == {
        k: v.tobytes() for k, v in expected.recorder.items()
    }
    assert [row.tobytes() for row in found.rows] == [row.tobytes() for row in expected.rows]


def test_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """By another process, which then goes on: the file of timesteps only grows by those that are new."""
    assert file(tmp_path).load() is None
    first = file(tmp_path)
    for rows in (1, 3):
        first.save(saved(rows, steps=rows))
        assert_same(file(tmp_path).load(), saved(rows, steps=rows))
    grown = tmp_path / ".a.mct.00007.rows"
    with grown.open("ab") as behind:
        behind.write(b"of an update that was lost")
    second = file(tmp_path)
    assert_same(second.load(), saved(3, steps=3))
    second.save(saved(4))
    assert grown.read_bytes() == b"".join(row.tobytes() for row in ROWS)
    assert_same(file(tmp_path).load(), saved(4))
    assert saved_in(tmp_path) == saved_in(tmp_path, "a.mct") == [7]
    assert saved_in(tmp_path, "b.mct") == saved_in(tmp_path / "absent") == []
    second.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".a.mct.00007.state", ".a.mct.00007.rows"])
@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda _: b"", lambda data: data[:-9] + b"\xff" * 9]
)
def test_damage_is_noticed(tmp_path: Path, name: str, change) -> None:
    """In either file; after it, a new state can be saved."""
    file(tmp_path).save(saved(2))
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    again = file(tmp_path)
    with pytest.raises(CorruptError, match=r"\.a\.mct\.00007\.state"):
        again.load()
    again.save(saved(3))
    assert_same(file(tmp_path).load(), saved(3))


def test_state_of_other_settings_is_left_alone(tmp_path: Path) -> None:
    """It is work that somebody may want to continue."""
    file(tmp_path).save(saved())
    before = (tmp_path / ".a.mct.00007.state").read_bytes()
    with pytest.raises(ExistsError, match="other settings"):
        file(tmp_path, b"other").load()
    assert (tmp_path / ".a.mct.00007.state").read_bytes() == before
