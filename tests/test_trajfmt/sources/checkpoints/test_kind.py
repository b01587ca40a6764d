"""A checkpoint that cannot be opened, and the hint on numbers in the names of folders."""

from __future__ import annotations

from pathlib import Path

from trajfmt.errors import FormatError, SourceError
from trajfmt.sources.base.collection import OpenOptions
from trajfmt.sources.checkpoints.kind import attempt, hint_of
from trajfmt.sources.checkpoints.pytorch import KIND


def test_what_cannot_be_opened_is_an_error_in_hand(tmp_path: Path) -> None:
    """A text is no checkpoint, and half of a file is damaged; neither is raised."""
    text, half = tmp_path / "step_1.pt", tmp_path / "step_1.safetensors"
    text.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    half.write_bytes(b"\x40\0\0\0\0\0\0\0{")
    assert isinstance(attempt(KIND, text, OpenOptions()), SourceError)
    assert isinstance(attempt(KIND, half, OpenOptions()), FormatError)


def test_the_hint_shows_the_number_of_the_folder() -> None:
    """Only where there is one."""
    assert hint_of([Path("runs/net2_100/final.pt")]).endswith("say so: --select 'net2_{step}/final.pt'")
    assert hint_of([Path("runs/net/final.pt")]) == hint_of([]) == ""
