"""A bundle in the cache of a hub, whose files are links to blobs, and links that lead elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trajfmt
from trajfmt import ParamLayout, UnsafeError
from trajfmt.bundle.validation import validate
from trajfmt.storage.links import blob_of


def cached(bundle: Path, root: Path, inside: str = "out.mct") -> Path:
    """Lay a bundle out as a hub's cache does, and return its folder of links."""
    (root / "blobs").mkdir(parents=True)
    shown = root / "snapshots" / "9e2b" / inside
    for number, file in enumerate(sorted(file for file in bundle.rglob("*") if file.is_file())):
        link = shown / file.relative_to(bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / "blobs" / str(number))
        link.symlink_to(os.path.relpath(root / "blobs" / str(number), link.parent))
    return shown


@pytest.mark.parametrize("inside", ["out.mct", "deep/er/out.mct", "."])
@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_a_bundle_in_the_cache_of_a_hub_is_read(
    layout: ParamLayout, walk: Callable, write_bundle: Callable, tmp_path: Path, inside: str, encoding: str
) -> None:
    """It gives the weights of the bundle itself, and every file is checked."""
    plain = write_bundle(layout, walk(layout), encoding=encoding)
    path = cached(plain, tmp_path / "models--a--b", inside)
    assert validate(path) == []
    other = tmp_path / "link"
    other.symlink_to(path)
    with (
        trajfmt.open(plain) as expected,
        trajfmt.open(path, verify=True) as found,
        trajfmt.open(other) as same,
    ):
        assert np.array_equal(expected[0].at(2), found[0].at(2))
        assert np.array_equal(expected[0].at(2), same[0].at(2))


@pytest.mark.parametrize("target", [
    "../../../secret", "../../secret", "../../blobs/deep/file", "../../blobs/link", "../../blobs/absent",
    "../../blobs", "../other/file", "/etc/passwd",
])  # fmt: skip
def test_a_link_that_leads_elsewhere_is_refused(tmp_path: Path, target: str) -> None:
    """The error names the way to a copy without links."""
    root = tmp_path / "models"
    shown = root / "snapshots" / "9e2b"
    for file in (
        tmp_path / "secret",
        root / "secret",
        root / "blobs/deep/file",
        root / "snapshots/other/file",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    (root / "blobs" / "link").symlink_to(tmp_path / "secret")
    shown.mkdir(parents=True)
    (shown / "manifest.json").symlink_to(target)
    with pytest.raises(UnsafeError, match="cp -rL") as caught:
        blob_of(shown / "manifest.json")
    assert caught.value.reason == "path_unsafe"
    with pytest.raises(UnsafeError, match="cp -rL"):
        trajfmt.open(shown)


def test_a_folder_of_blobs_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """It would open any folder to the links."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("x")
    shown = tmp_path / "m" / "snapshots" / "v"
    shown.mkdir(parents=True)
    (tmp_path / "m" / "blobs").symlink_to(tmp_path / "home")
    (shown / "manifest.json").symlink_to("../../blobs/key")
    with pytest.raises(UnsafeError, match="cp -rL"):
        blob_of(shown / "manifest.json")
