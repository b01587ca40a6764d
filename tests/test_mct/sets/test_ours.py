"""Foreign images as our own file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.data.datasets import load  # noqa: E402
from mct.errors import ConfigError, ResultError  # noqa: E402
from mct.evaluation.comparison import Comparison  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.results.origin import ForeignOrigin  # noqa: E402
from mct.sets.settle import rate_of_user  # noqa: E402
from mct.sets.table import open_set  # noqa: E402
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
from tests.helpers.made import made  # noqa: E402


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


def test_the_images_of_a_run_are_named(tmp_path: Path) -> None:
    """Of a folder with the best and the last images; best ones from before the first update are real."""
    last = made(load("digits"))
    for step, words in ((0, "of outer step 0, which are those that the run began with;"), (5, "step 5;")):
        best = replace(last, origin=replace(last.run, outer_step=step))
        said: list[str] = []
        synthetic.save(tmp_path / "synthetic.safetensors", last, load("digits"))
        (tmp_path / "best.safetensors").unlink(missing_ok=True)
        open_set(tmp_path, notes=said.append)
        assert said == []
        synthetic.save(tmp_path / "best.safetensors", best, load("digits"))
        open_set(tmp_path / "best.safetensors", notes=said.append)
        assert said == []
        open_set(tmp_path, notes=said.append)
        (line,) = said
        assert line.startswith(f"{tmp_path}: the images are those of best.safetensors, of outer step {step}")
        assert words in line


def test_the_same_rate_in_float32_is_no_other_one() -> None:
    """Codebases save it so; a user reads and gives the short form."""
    said: list[str] = []
    assert rate_of_user(float(torch.tensor(0.02)), 0.02, said.append) == 0.02
    assert said == []
    assert rate_of_user(0.02, 0.021, said.append) == 0.021
    assert said == ["the file states the learning rate 0.02; 0.021 is used instead, as given with --lr"]
