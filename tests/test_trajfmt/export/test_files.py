"""Files for other code: whole or not at all, and which trajectories are in each."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from trajfmt.errors import WriteError  # noqa: E402
from trajfmt.export.files import ranges, save  # noqa: E402


def test_trajectories_are_dealt_out_in_order() -> None:
    """`per_file` to a file, the rest in the last; none without trajectories."""
    assert list(ranges(7, 3)) == [(0, range(0, 3)), (1, range(3, 6)), (2, range(6, 7))]
    assert list(ranges(6, 3)) == [(0, range(0, 3)), (1, range(3, 6))]
    assert list(ranges(0, 3)) == []


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """What torch loads is what was saved, and nothing lies beside it."""
    path = tmp_path / "replay_buffer_0.pt"
    for value in (1.0, 2.0):
        save([[torch.full((3,), value)]], path)
        assert torch.load(path)[0][0].tolist() == [value] * 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("PytorchStreamWriter failed\nmore"), "torch says: PytorchStreamWriter failed"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """One line that names the file, for torch's error and the system's."""
    path = tmp_path / "replay_buffer_0.pt"
    save([1], path)

    def fail(_value: object, place: Path) -> None:
        Path(place).write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(WriteError) as caught:
        save([2], path)
    assert str(caught.value) == f"{path}: cannot be written: {told}"
    assert torch.load(path) == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_may_not_grow_is_one_clear_line(tmp_path: Path) -> None:
    """torch's own text names neither the file nor the reason; the system does."""
    path = tmp_path / "replay_buffer_0.pt"
    code = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from trajfmt.export.files import save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try: save([torch.zeros(100_000)], Path(sys.argv[1]))\n"
        "except OSError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: cannot be written: {os.strerror(errno.EFBIG)}\n"
    assert list(tmp_path.iterdir()) == []
