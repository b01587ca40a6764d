"""A bundle at whose path another one appears while it is open: its own weights or an error, never others."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.walks import LAYOUT, walk_of, write_walks
from trajfmt import ArrayTrajectory
from trajfmt.errors import SourceError, TrajfmtError

BACKENDS = ["mmap", "pread"]


def _another(path: Path) -> Path:
    """Write a bundle whose files have the same names and sizes, and other weights."""
    with trajfmt.create(path, LAYOUT, encoding="convex" if path.suffix == ".mct" else "full") as writer:
        for seed in (7, 8):
            writer.add(ArrayTrajectory(walk_of(seed), LAYOUT))
    return path


def _renamed(old: Path, new: Path) -> None:
    old.rename(old.with_name("aside"))
    new.rename(old)


def _copied(old: Path, new: Path) -> None:
    for file in new.rglob("*"):
        if file.is_file():
            shutil.copyfile(file, old / file.relative_to(new))


def _removed(old: Path, _new: Path) -> None:
    shutil.rmtree(old)


def _in_place(old: Path, new: Path) -> None:
    """Replace the weights and leave the manifest."""
    for file in new.rglob("0000*"):
        os.replace(file, old / file.relative_to(new))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("change", [_renamed, _copied, _removed], ids=lambda change: change.__name__)
@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_files_of_another_bundle_are_refused(
    tmp_path: Path, suffix: str, change: Callable[[Path, Path], None], backend: Any
) -> None:
    """Those that were not open yet; one line says to open it again."""
    path = write_walks(tmp_path / f"a{suffix}", 2, "convex" if suffix == ".mct" else "full")
    other = _another(tmp_path / f"b{suffix}")
    sizes = [{f.name: f.stat().st_size for f in p.rglob("0*")} for p in (path, other)]
    assert sizes[0] == sizes[1]
    with trajfmt.open(path, backend=backend) as bundle:
        expected = bundle[0].at(0)
        copy = pickle.loads(pickle.dumps(bundle))
        change(path, other)
        for opened in (bundle, copy):
            with pytest.raises(TrajfmtError) as caught:
                opened[1].at(0)
            assert "\n" not in str(caught.value)
            if change is not _removed:
                assert isinstance(caught.value, SourceError)
                assert caught.value.reason == "source_changed"
                assert "open it again" in str(caught.value)
        np.testing.assert_array_equal(expected, walk_of(0)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_single_file_that_was_replaced_is_refused(tmp_path: Path, backend: Any) -> None:
    """It has the same size, and the manifest is the same; it was open before."""
    path, other = write_walks(tmp_path / "a.mtt", 2), _another(tmp_path / "b.mtt")
    with trajfmt.open(path, backend=backend) as bundle:
        expected = bundle[0].at(5)
        bundle.close()
        _in_place(path, other)
        with pytest.raises(TrajfmtError, match="changed while the bundle was open; open it again"):
            bundle[0].at(5)
        np.testing.assert_array_equal(expected, walk_of(0)[5])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_append_changes_nothing_for_readers(tmp_path: Path, backend: Any) -> None:
    """The manifest is replaced, and lists the earlier files as they were; files open later are theirs."""
    path = write_walks(tmp_path / "a.mct", 2, "convex")
    with trajfmt.open(path, backend=backend) as bundle:
        first = bundle[0].at(0)
        for seed in (7, 8):
            with trajfmt.append(path) as writer:
                writer.add(ArrayTrajectory(walk_of(seed), LAYOUT))
            np.testing.assert_array_equal(bundle[1].at(0), walk_of(1)[0])
            bundle.close()
        np.testing.assert_array_equal(bundle[0].at(0), first)
        assert len(bundle) == 2


def test_a_manifest_that_is_written_again_is_the_same_bundle(tmp_path: Path) -> None:
    """A copy of the same bundle, with another inode and time, has the same weights."""
    path = write_walks(tmp_path / "a.mtt", 1)
    with trajfmt.open(path) as bundle:
        shutil.copytree(path, tmp_path / "b.mtt")
        _renamed(path, tmp_path / "b.mtt")
        np.testing.assert_array_equal(bundle[0].at(1), walk_of(0)[1])


def test_a_bundle_whose_manifest_cannot_be_read_any_more_is_another(tmp_path: Path) -> None:
    """Nothing, text of somebody else, or a folder in its place: files that were not open yet are refused."""
    path = write_walks(tmp_path / "a.mtt", 2)
    manifest = path / "manifest.json"
    with trajfmt.open(path) as bundle:
        bundle[0].at(1)
        for change in (lambda: manifest.write_text("{}"), manifest.unlink, manifest.mkdir):
            change()
            with pytest.raises(SourceError, match="the bundle was replaced while it was open") as caught:
                bundle[1].at(1)
            assert (caught.value.reason, caught.value.path) == ("source_changed", str(path))
