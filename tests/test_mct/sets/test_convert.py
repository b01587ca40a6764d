"""From any layout to any other."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.data import datasets  # noqa: E402
from mct.errors import ConfigError, ExistsError, MismatchError, MissingError  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.sets import (  # noqa: E402
    UserFacts,
    labels,
)
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, LOGITS, SOFT, convert, opened, write_all  # noqa: E402
from tests.helpers.made import made  # noqa: E402


@pytest.mark.parametrize("classes", [-1, 0, 10**9])
def test_a_number_of_classes_that_cannot_be_is_refused(tmp_path: Path, classes: int) -> None:
    """It would be a table of that many logits an image."""
    folder = writers.mtt(tmp_path / "a", IMAGES, HARD)
    with pytest.raises(ConfigError, match="`classes` must be from 1"):
        convert(folder, tmp_path / "b", to="datm", user=UserFacts(lr=0.1), classes=classes)
    assert not (tmp_path / "b").exists()


SAME = ["mtt", "ftd-ema", "mct-authors", "datm", "seqmatch", "mkdt", "mtt-parts", "ddranking", "condensation"]


@pytest.mark.parametrize("name", SAME)
def test_a_layout_written_from_itself_is_read_the_same(tmp_path: Path, name: str) -> None:
    """Images and labels bit for bit, the step size as far as there is a file for it."""
    path, *_ = write_all(tmp_path / "in")[name]
    dest = tmp_path / ("res_DM_CIFAR10_ConvNet_2ipc.pt" if name == "condensation" else "out")
    convert(path, dest, to=name)
    before, after = opened(path)[0].found, opened(dest)[0]
    assert after.layout.name == name
    assert torch.equal(after.found.images, before.images)
    assert torch.equal(after.found.labels, before.labels)
    assert (after.found.meaning, after.found.learning_rate) == (before.meaning, before.learning_rate)


HOLDS = {
    "mtt": {"classes", "probabilities"}, "ftd-ema": {"classes", "probabilities"},
    "mct-authors": {"classes", "probabilities"}, "mtt-parts": {"classes", "probabilities"},
    "datm": {"logits"}, "ddranking": {"classes", "logits"}, "seqmatch": {"classes"},
    "condensation": {"classes"}, "mkdt": {"representations"},
    "npz": {"classes", "probabilities", "logits", "representations"},
}  # fmt: skip


@pytest.mark.parametrize("source", ["classes", "probabilities", "logits", "representations"])
@pytest.mark.parametrize("target", sorted(HOLDS))
def test_every_layout_into_every_other(tmp_path: Path, source: str, target: str) -> None:
    """It is read back with the same images and distribution, or refused, and then nothing is left."""
    path = {
        "classes": lambda f: writers.mtt(f, IMAGES, HARD),
        "probabilities": lambda f: writers.tesla(f, IMAGES, LOGITS),
        "logits": lambda f: writers.datm(f, IMAGES, LOGITS, 0.02),
        "representations": lambda f: writers.mkdt(f, IMAGES, LOGITS, 0.02),
    }[source](tmp_path / "in")
    dest = tmp_path / {"npz": "out.npz", "condensation": "res_X_Y_Z_2ipc.pt"}.get(target, "out")
    possible = {
        "classes": target != "mkdt",
        "probabilities": bool(HOLDS[target] & {"probabilities", "logits"}),
        "logits": bool(HOLDS[target] & {"probabilities", "logits"}),
        "representations": "representations" in HOLDS[target],
    }[source]
    how = {"to": target, "user": UserFacts(lr=0.02), "classes": 10 if source == "classes" else None}
    if not possible:
        with pytest.raises(MismatchError, match=r"class numbers|representations"):
            convert(path, dest, **how)
        assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
        return
    notes = convert(path, dest, **how)
    found = opened(dest)[0].found
    assert found.meaning in HOLDS[target]
    assert torch.equal(found.images, IMAGES)
    if found.learning_rate is None:
        assert any("0.02" in line for line in notes)
    else:
        assert found.learning_rate == pytest.approx(0.02)
    if source == "classes" and found.meaning == "classes":
        assert torch.equal(found.labels, HARD)
    elif source != "representations":
        wanted = torch.nn.functional.one_hot(HARD, 10).float() if source == "classes" else SOFT
        assert torch.allclose(labels.probabilities(found.labels, found.meaning), wanted, rtol=1e-5, atol=1e-7)
    else:
        assert torch.equal(found.labels, LOGITS)


def test_readers_of_other_codebases_find_what_they_load(tmp_path: Path) -> None:
    """`torch.load` as their scripts call it: names, dtypes, nesting, no view of a larger storage."""
    source = writers.mtt(tmp_path / "in", IMAGES, HARD)
    told = UserFacts(lr=0.02)
    convert(source, tmp_path / "datm", to="datm", user=told, classes=10)
    rate = torch.load(tmp_path / "datm" / "lr_best.pt")
    assert (rate.shape, rate.dtype, rate.item()) == ((), torch.float32, pytest.approx(0.02))
    assert torch.load(tmp_path / "datm" / "labels_best.pt").dtype == torch.float32
    convert(source, tmp_path / "seq", to="seqmatch", user=told)
    assert torch.load(tmp_path / "seq" / "best_lr.pt").item() == pytest.approx(0.02)
    convert(source, tmp_path / "dd", to="ddranking", user=told)
    assert sorted(entry.name for entry in (tmp_path / "dd").iterdir()) == ["images.pt", "labels.pt", "lr.pt"]
    convert(source, tmp_path / "res_DM_digits_ConvNet_2ipc.pt", to="condensation")
    images, own = torch.load(tmp_path / "res_DM_digits_ConvNet_2ipc.pt", map_location="cpu")["data"][-1]
    assert torch.equal(images, IMAGES)
    assert torch.equal(own.long(), HARD)
    convert(source, tmp_path / "parts", to="mtt-parts")
    joined = [torch.load(tmp_path / "parts" / f"images_best_{number}.pt") for number in range(5)]
    assert torch.equal(torch.cat(joined), IMAGES)
    assert max(os.path.getsize(tmp_path / "parts" / f"images_best_{n}.pt") for n in range(5)) < 3000


def test_what_a_target_needs_is_asked_for_and_what_it_loses_is_said(tmp_path: Path) -> None:
    """A step size for DATM, the number of classes for logits; MTT's files have no place for either."""
    source = writers.mtt(tmp_path / "in", IMAGES, HARD)
    with pytest.raises(ConfigError, match="--lr"):
        convert(source, tmp_path / "a", to="datm", classes=10)
    with pytest.raises(ConfigError, match="--classes"):
        convert(source, tmp_path / "a", to="datm", user=UserFacts(lr=0.1))
    with pytest.raises(MismatchError, match="a label is class 9, but `classes` is 5"):
        convert(source, tmp_path / "a", to="datm", user=UserFacts(lr=0.1), classes=5)
    assert not (tmp_path / "a").exists()
    datm = writers.datm(tmp_path / "datm", IMAGES, LOGITS, 0.25)
    told = UserFacts(lr=0.5, dataset="digits", model="ConvNet")
    _, replaced, _, lost, unused = convert(datm, tmp_path / "d", to="mtt", user=told)
    assert replaced == "the file states the learning rate 0.25; 0.5 is used instead, as given with --lr"
    assert "this layout cannot store the learning rate, 0.5" in lost
    assert "this layout cannot store dataset and model" in unused
    *_, soft, lost = convert(datm, tmp_path / "b", to="mtt")
    assert "labels are probabilities, as TESLA writes them" in soft
    assert "this layout cannot store the learning rate, 0.25" in lost
    with pytest.raises(MismatchError, match="the classes of this set have different numbers"):
        convert(writers.mtt(tmp_path / "v", IMAGES[1:], HARD[1:]), tmp_path / "a", to="mct-authors")
    uneven = writers.mtt(tmp_path / "u", IMAGES, HARD.flip(0))
    assert any(
        "sorted by class" in line
        for line in convert(uneven, tmp_path / "c", to="ddranking", user=UserFacts(lr=1.0))
    )


def test_destinations_that_cannot_be(tmp_path: Path) -> None:
    """Nothing is overwritten, and nothing is read before that is known."""
    source = writers.mtt(tmp_path / "in", IMAGES, HARD)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    for name in ("there", "link"):
        with pytest.raises(ExistsError, match="exists; use another name"):
            convert(tmp_path / "absent", tmp_path / name, to="mtt")
    with pytest.raises(MissingError, match="no such folder"):
        convert(source, tmp_path / "no" / "out", to="mtt")
    with pytest.raises(ConfigError, match="give the layout to write with --to"):
        convert(source, tmp_path / "out")
    with pytest.raises(ConfigError, match="the layout npz is a single file"):
        convert(source, tmp_path / "out", to="npz")
    with pytest.raises(ConfigError, match="can be detected, but not written"):
        convert(source, tmp_path / "out", to="haba")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "link", "there"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files or none, and no temporary folder."""
    source = writers.mtt(tmp_path / "in", IMAGES, HARD)
    written = []

    def failing(path: Path, _content: bytes) -> None:
        if written:
            raise OSError(28, "No space left on device", str(path))
        written.append(path)

    monkeypatch.setattr("mct.sets.convert.write_file", failing)
    with pytest.raises(OSError, match="No space left"):
        convert(source, tmp_path / "out", to="mtt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_our_own_result_for_other_codebases(tmp_path: Path, digits: datasets.Dataset) -> None:
    """A distilled result goes out with its step size and number of classes, which need no flags."""
    result = made(digits)
    synthetic.save(tmp_path / "synthetic.safetensors", result, digits)
    convert(tmp_path, tmp_path / "datm", to="datm")
    assert torch.equal(torch.load(tmp_path / "datm" / "images_best.pt"), result.images)
    assert torch.equal(torch.load(tmp_path / "datm" / "labels_best.pt").argmax(1), result.labels)
    convert(tmp_path, tmp_path / "authors", to="mct-authors")
    assert (tmp_path / "authors" / "images_ipc-2_best.pt").is_file()


def test_rows_of_labels_lose_their_sums_with_a_note(tmp_path: Path, digits: datasets.Dataset) -> None:
    """The sum of a row weights its image; probabilities have no such weight."""
    start = made(digits)
    config = replace(start.run.config, labels="learned", label_form="rows")
    rows = torch.eye(10)[start.labels]
    for name, weight, lost in (("a", 1.0, False), ("b", 0.5, True)):
        rows[0] *= weight
        found = replace(start, soft_labels=rows.clone(), origin=replace(start.run, config=config))
        synthetic.save(tmp_path / f"{name}.safetensors", found, digits)
        told = convert(tmp_path / f"{name}.safetensors", tmp_path / name, to="datm")
        assert any("sums, which are 0.5 to 1" in line for line in told) is lost
