"""Foreign images as our own file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError, ResultError  # noqa: E402
from mct.evaluation.comparison import Comparison  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.results.origin import ForeignOrigin  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import (  # noqa: E402
    HARD,
    IMAGES,
    LOGITS,
    SOFT,
    USER,
    convert,
    opened,
)


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_foreign_images_as_our_own_file(tmp_path: Path) -> None:
    """Everything that was read and told comes back, uneven classes too, and it evaluates without a flag."""
    hard = torch.cat([HARD[:18], torch.tensor([3, 3])])
    source = writers.mtt(tmp_path / "in", IMAGES, hard)
    dest = tmp_path / "out.safetensors"
    with pytest.raises(ConfigError, match="do not state the dataset"):
        convert(source, dest)
    convert(source, dest, user=USER)
    found = synthetic.load(dest)
    assert torch.equal(found.images, IMAGES)
    assert torch.equal(found.labels, hard)
    assert isinstance(found.origin, ForeignOrigin)
    assert [file.name for file in found.origin.files] == ["images_best.pt", "labels_best.pt"]
    assert found.origin.files[0].sha256 == _sha(source / "images_best.pt")
    assert found.origin.preprocessing.images_sha256
    assert found.origin.model.width == 4
    with pytest.raises(ResultError, match="expected images that mct distilled"):
        _ = found.run
    theirs = Comparison.prepare(
        source,
        dataset="digits",
        preprocessing="normalize",
        model="ConvNetD2W4",
        lr=0.05,
        networks=1,
        epochs=1,
    )
    ours = Comparison.prepare(dest, networks=1, epochs=1)
    assert list(ours.distilled()) == list(theirs.distilled())
    with pytest.raises(ConfigError, match="is a file of mct already"):
        convert(dest, tmp_path / "again.safetensors")


def test_soft_foreign_images_as_our_own_file(tmp_path: Path) -> None:
    """Logits become the probabilities that networks are trained with, and go back as the same ones."""
    source = writers.datm(tmp_path / "in", IMAGES, LOGITS, 0.02)
    convert(source, tmp_path / "out.safetensors", user=replace(USER, lr=None))
    convert(tmp_path / "out.safetensors", tmp_path / "back", to="datm")
    found = opened(tmp_path / "back")[0].found
    assert found.learning_rate == pytest.approx(0.02, rel=1e-7)
    assert torch.allclose(found.labels.softmax(1), SOFT, rtol=1e-5, atol=1e-7)
    assert torch.equal(found.images, IMAGES)
