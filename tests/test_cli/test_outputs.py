"""Files that are written in the format of their suffix."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("click")

(ENTRY,) = entry_points(group="console_scripts", name="traj")
outputs = import_module(f"{ENTRY.module.rpartition('.')[0]}.outputs")


def test_nothing_is_written_unless_all_can_be_encoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A suffix counts in any case, and an error in the second file leaves the first one as it was."""
    files = [tmp_path / "a.HTML", tmp_path / "b.json"]
    files[0].write_bytes(b"before")

    def encode(suffix: str) -> bytes:
        if suffix == "json":
            raise ValueError
        return suffix.encode()

    with pytest.raises(ValueError, match=r"^$"):
        outputs.write(files, encode)
    assert [file.name for file in tmp_path.iterdir()] == ["a.HTML"]
    assert files[0].read_bytes() == b"before"
    outputs.write(files, str.encode)
    assert [file.read_bytes() for file in files] == [b"html", b"json"]
    assert capsys.readouterr().out == "".join(f"{file}\n" for file in files)
