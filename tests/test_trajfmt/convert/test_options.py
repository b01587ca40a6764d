"""Options and destinations that cannot be, refused before any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import ExistsError, UsageError

torch = pytest.importorskip("torch")
from tests.helpers.conversion import files, run, save, theta  # noqa: E402


def test_convex_to_convex_is_refused(tmp_path: Path) -> None:
    """The waypoints are gone: a second convexification is refused."""
    run(save(tmp_path / "src", [theta(1)]), tmp_path / "a.mct")
    with pytest.raises(UsageError, match="convexified already"):
        convert(tmp_path / "a.mct", tmp_path / "b.mct")
    assert not (tmp_path / "b.mct").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "bundle", "dangling link"])
def test_existing_destination_is_refused_and_untouched(tmp_path: Path, kind: str) -> None:
    """Whatever lies at the destination stays what it is."""
    source, target = save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct"
    if kind == "file":
        target.write_bytes(b"precious")
    elif kind == "folder":
        target.mkdir()
        (target / "precious").write_bytes(b"x")
    elif kind == "bundle":
        run(save(tmp_path / "other", [theta(5)]), target)
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = files(target) if target.is_dir() else target.read_bytes() if target.exists() else None
    with pytest.raises(ExistsError):
        convert(source, target)
    after = files(target) if target.is_dir() else target.read_bytes() if target.exists() else None
    assert before == after
    assert target.is_symlink() == (kind == "dangling link")
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / ".out.mct.partial").exists()


@pytest.mark.parametrize("name", ["out", "out.zip", "out.mct.zip", ".mct", "out.MCT"])
def test_destination_with_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    """The suffix alone says the encoding; it is never guessed."""
    with pytest.raises(UsageError, match=r"\.mct"):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_missing_parent_is_refused(tmp_path: Path) -> None:
    """Folders are not created for a mistyped path."""
    with pytest.raises(UsageError, match="no such folder"):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / "no" / "out.mct")
    assert not (tmp_path / "no").exists()


def test_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A file in place of the parent folder is a usage error."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / "file" / "out.mct")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_parent_is_refused(tmp_path: Path) -> None:
    """A read-only parent folder gives one error and no trace."""
    source = save(tmp_path / "src", [theta(0)])
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OSError, match="ermission"):
        convert(source, tmp_path / "locked" / "out.mct")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mct", {"codec": "zstd"}),
        (".mct", {"smooth": True}),
        (".mtt", {"knots": (3,)}),
        (".mtt", {"smooth": True}),
        (".mct", {"model": "ConvNet"}),
        (".mct", {"layers": "tensors"}),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    """Options of the other encoding, or of a network that this is not, are usage errors."""
    with pytest.raises(UsageError):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / f"out{suffix}", ConvertOptions(**options))
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("dataset", ["", "x" * 2000])
def test_impossible_dataset_name_is_a_usage_error(tmp_path: Path, dataset: str) -> None:
    """A name that the manifest cannot hold is refused before anything is read."""
    with pytest.raises(UsageError):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct", ConvertOptions(dataset=dataset))
