"""Arrays for anybody."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from mct.errors import CorruptError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import IMAGES, LOGITS, convert, opened  # noqa: E402


def test_arrays_for_anybody(tmp_path: Path) -> None:
    """The .npz says what its labels are; damaged ones are refused."""
    source = writers.mkdt(tmp_path / "in", IMAGES, LOGITS, 0.02)
    path = tmp_path / "a.npz"
    convert(source, path)
    with np.load(path) as stored:
        assert sorted(stored) == ["images", "labels", "learning_rate", "meaning"]
        assert str(stored["meaning"]) == "representations"
        arrays = dict(stored)
    for change, match in (
        ({"meaning": np.array("classes")}, "`meaning` must be one of .* found classes and float32"),
        ({"images": np.array("x")}, "expected square images"),
        ({"learning_rate": np.array(-1.0)}, "must be a finite number > 0"),
        ({"labels": np.array([None])}, "cannot be read"),
    ):
        np.savez(tmp_path / "b.npz", **(arrays | change))
        with pytest.raises(CorruptError, match=match):
            opened(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorruptError, match="cannot be read"):
        opened(tmp_path / "c.npz")


def test_further_arrays_are_named(tmp_path: Path) -> None:
    """They are not used, and a note lists them."""
    path = tmp_path / "a.npz"
    convert(writers.mkdt(tmp_path / "in", IMAGES, LOGITS, 0.02), path)
    assert "not used" not in " ".join(opened(path)[1])
    with np.load(path) as stored:
        np.savez(path, **stored, soft=np.zeros(3), extra=np.zeros(1))
    assert any("arrays that are not used: extra, soft" in note for note in opened(path)[1])


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_arrays_that_cannot_be_read_are_not_damaged(tmp_path: Path, monkeypatch, number: int) -> None:
    """The error of the system stays one, with the name of the file."""
    path = tmp_path / "a.npz"
    convert(writers.mkdt(tmp_path / "in", IMAGES, LOGITS, 0.02), path)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        opened(path)
    assert caught.value.filename == str(path)
