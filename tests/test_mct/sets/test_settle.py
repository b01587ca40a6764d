"""From what files and users say to a set that can be trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct import sets  # noqa: E402
from mct.data.picking import pick_per_class  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.evaluation.comparison import Comparison  # noqa: E402
from mct.results.origin import ForeignOrigin  # noqa: E402
from mct.sets import UserFacts  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import (  # noqa: E402
    HARD,
    IMAGES,
    LOGITS,
    USER,
    opened,
)


def test_all_unknown_facts_are_asked_for_at_once(tmp_path: Path) -> None:
    """One line names every fact, every option, and where the codebase has it; nothing is assumed."""
    found, _ = opened(writers.mtt(tmp_path / "a", IMAGES, HARD))
    with pytest.raises(ConfigError) as asked:
        sets.settle(found, UserFacts(), root=None)
    for word in ("--dataset", "--preprocessing", "--model", "--lr", "Synthetic_LR"):
        assert word in str(asked.value)
    with pytest.raises(ConfigError, match=r"do not state the learning rate; give --lr \(MTT"):
        sets.settle(found, replace(USER, lr=None), root=None)
    with pytest.raises(
        ConfigError, match="do not state the preprocessing of the images; give --preprocessing"
    ):
        sets.settle(found, replace(USER, preprocessing=None), root=None)


def test_what_files_say_is_used_and_recorded(tmp_path: Path) -> None:
    """The step size of the file, the flags for the rest; the origin says which is which."""
    found, _ = opened(writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.02))
    settled = sets.settle(found, replace(USER, lr=None), root=None)
    own = settled.synthetic
    assert own.learning_rate == pytest.approx(0.02)
    assert isinstance(own.origin, ForeignOrigin)
    assert own.origin.known_from == {
        "learning_rate": "file", "dataset": "flag", "preprocessing": "flag", "model": "flag"
    }  # fmt: skip
    assert (own.origin.layout, own.origin.labels, own.origin.dataset) == ("datm", "logits", "digits")
    assert torch.equal(own.soft_labels, LOGITS.double().softmax(1).float())
    assert own.counts == (2,) * 10
    notes: list[str] = []
    told = sets.settle(found, USER, root=None, notes=notes.append)
    assert told.synthetic.learning_rate == 0.05
    assert notes == ["the file states the learning rate 0.02; 0.05 is used instead, as given with --lr"]


def test_unequal_classes_and_their_baseline(tmp_path: Path) -> None:
    """A class may have more images than another, or none; the baseline draws as many of each."""
    hard = torch.tensor([0] * 5 + [1] * 3 + [2, 3, 4, 5, 6, 7, 8] + [0] * 5)
    notes: list[str] = []
    comparison = Comparison.prepare(
        writers.mtt(tmp_path / "a", IMAGES, hard), dataset="digits", preprocessing="normalize",
        model="ConvNetD2W4", lr=0.05, networks=1, epochs=1, notes=notes.append,
    )  # fmt: skip
    assert comparison.synthetic.counts == (10, 3, 1, 1, 1, 1, 1, 1, 1, 0)
    assert comparison.synthetic.ipc is None
    assert any("1 of 10 classes have no image; the first of them is '9'" in line for line in notes)
    assert len(list(comparison.baseline())) == 5
    chosen = pick_per_class(
        comparison.dataset.train_labels, 10, comparison.synthetic.counts, torch.Generator().manual_seed(0)
    )
    drawn = torch.bincount(comparison.dataset.train_labels[chosen], minlength=10)
    assert tuple(drawn.tolist()) == comparison.synthetic.counts


def test_images_in_another_space_than_was_said(tmp_path: Path) -> None:
    """Plain pixels where a normalisation was said, and the other way round: a line, not a refusal."""
    pixels = IMAGES.sigmoid()
    cases = ((pixels, "normalize", "all pixels lie in [0, 1]"), (IMAGES, "none", "lie outside [0, 1]"))
    for number, (images, kind, words) in enumerate(cases):
        found, _ = opened(writers.mtt(tmp_path / str(number), images, HARD))
        notes: list[str] = []
        sets.settle(found, replace(USER, preprocessing=kind), root=None, notes=notes.append)
        assert len(notes) == 1
        assert words in notes[0]
        other = "none" if kind == "normalize" else "normalize"
        sets.settle(found, replace(USER, preprocessing=other), root=None, notes=pytest.fail)


@pytest.mark.parametrize(
    ("images", "own", "match"),
    [
        (
            writers.images_of(20, channels=3, size=32),
            HARD,
            r"images are \(3, 32, 32\), but those of 'digits' are \(1, 8",
        ),
        (IMAGES, HARD + 1, "labels are of 11 classes, but 'digits' has 10"),
        (IMAGES, torch.full((20, 7), 1 / 7), "labels are of 7 classes, but 'digits' has 10"),
    ],
)
def test_images_of_another_data_set(tmp_path: Path, images, own, match: str) -> None:
    """Shape and number of classes must be those of the data set."""
    found, _ = opened(writers.mtt(tmp_path / "a", images, own))
    with pytest.raises(MismatchError, match=match):
        sets.settle(found, USER, root=None)


def test_files_and_flags_that_contradict_each_other(tmp_path: Path) -> None:
    """The name of a file says CIFAR-10; another data set is not taken for it."""
    path = writers.condensation(tmp_path, "res_DC_CIFAR10_ConvNet_2ipc.pt", [(IMAGES, HARD)])
    with pytest.raises(MismatchError, match="dataset is 'CIFAR10', but `dataset` is 'digits'"):
        sets.settle(opened(path)[0], USER, root=None)
    zca, _ = opened(writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.1))
    stated = replace(zca, found=replace(zca.found, preprocessing=trajfmt.Preprocessing(kind="zca")))
    with pytest.raises(MismatchError, match="preprocessing is 'zca', but"):
        sets.settle(stated, USER, root=None)


def test_a_file_names_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that only the name of a file states is one of the table, or asked for; no code is run."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    runs = [(IMAGES, HARD)]
    path = writers.condensation(tmp_path, "res_DC_digits_evil:make_2ipc.pt", runs)
    told = replace(USER, dataset=None, model=None)
    with pytest.raises(ConfigError, match="do not state the network; give --model"):
        sets.settle(opened(path)[0], told, root=None)
    lenet, _ = opened(writers.condensation(tmp_path, "res_DC_digits_LeNet_2ipc.pt", runs))
    with pytest.raises(ConfigError, match="do not state the network"):
        sets.settle(lenet, told, root=None)


def test_another_network_than_the_files_state_is_said(tmp_path: Path) -> None:
    """By the name of a file of another codebase, or by a file of mct; the same network is no note."""
    path = writers.condensation(tmp_path, "res_DC_digits_ConvNet_2ipc.pt", [(IMAGES, HARD)])
    own = tmp_path / "own.safetensors"
    told = replace(USER, dataset=None)
    sets.convert_images(path, own, user=told, root=None)
    said: dict[str, list[str]] = {"theirs": [], "ours": [], "same": []}
    sets.settle(opened(path)[0], told, root=None, notes=said["theirs"].append)
    sets.settle(opened(own)[0], UserFacts(model="AlexNet"), root=None, notes=said["ours"].append)
    sets.settle(opened(own)[0], UserFacts(model="ConvNetD2W4"), root=None, notes=said["same"].append)
    found = {name: [line for line in lines if "network" in line] for name, lines in said.items()}
    told_so = "the file states the network {}; {} is trained instead, as given with --model"
    assert found == {
        "theirs": [told_so.format("ConvNet", "ConvNetD2W4")],
        "ours": [told_so.format("ConvNetD2W4", "AlexNet")],
        "same": [],
    }


def _npz(path: Path, size: int = 8, classes: int = 10) -> Path:
    """Write a data set under some name."""
    random = np.random.default_rng(0)
    own = np.arange(4 * classes) % classes
    images = random.integers(0, 256, (len(own), size, size), dtype=np.uint8)
    np.savez(path, train_images=images, train_labels=own, test_images=images, test_labels=own)
    return path


def test_constants_of_the_codebase(tmp_path: Path) -> None:
    """DC normalises MNIST by its own constants; CIFAR-100 differs between codebases, so it is asked for."""
    mnist = _npz(tmp_path / "MNIST.npz")
    path = writers.condensation(tmp_path / "a", "res_DM_MNIST_ConvNet_2ipc.pt", [(IMAGES, HARD)])
    told = replace(USER, dataset=str(mnist), model=None)
    settled = sets.settle(opened(path)[0], replace(told, model="ConvNetD2W4"), root=None)
    assert settled.dataset.transform.record.mean == [0.1307]
    assert settled.dataset.transform.record.std == [0.3081]
    cifar = _npz(tmp_path / "CIFAR100.npz")
    path = writers.condensation(tmp_path / "b", "res_DM_CIFAR100_ConvNet_2ipc.pt", [(IMAGES, HARD)])
    told = replace(USER, dataset=str(cifar))
    with pytest.raises(ConfigError, match=r"normalise CIFAR100 differently; give --mean 0\.5071"):
        sets.settle(opened(path)[0], told, root=None)
    settled = sets.settle(opened(path)[0], replace(told, mean=(0.5,), std=(0.25,)), root=None)
    assert settled.dataset.transform.record.std == [0.25]
    for wrong in ({"mean": (0.5,)}, {"mean": (0.5,), "std": (0.5,), "preprocessing": "zca"}, {"lr": -1.0}):
        with pytest.raises(ConfigError):
            replace(USER, **wrong)
