"""Distilled images of other codebases: recognised, read as they are, written as their readers expect."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct import sets  # noqa: E402
from mct.data import datasets  # noqa: E402
from mct.errors import ConfigError, CorruptError, ExistsError, MismatchError, MissingError, ResultError  # noqa: E402
from mct.evaluation.comparison import Comparison  # noqa: E402
from mct.evaluation.protocol import evaluate  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.results.origin import ForeignOrigin  # noqa: E402
from mct.sets import labels  # noqa: E402
from mct.sets.settle import Told  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.test_mct.results.test_synthetic import made  # noqa: E402

IMAGES = writers.images_of(20)
HARD = writers.classes_of(10, 2)
LOGITS = writers.logits_of(20, 10)
SOFT = LOGITS.softmax(1)
TOLD = Told(dataset="digits", preprocessing="normalize", model="ConvNetD2W4", lr=0.05)


def opened(path: Path, **how) -> tuple[sets.Opened, list[str]]:
    """Return what is read, and the lines that are told."""
    notes: list[str] = []
    return sets.open_set(path, notes=notes.append, **how), notes


def convert(source: Path, dest: Path, **how) -> list[str]:
    """Convert, and return the lines that are told."""
    notes: list[str] = []
    sets.convert_images(source, dest, notes=notes.append, **how)
    return notes


def write_all(folder: Path) -> dict[str, tuple[Path, object, str, float | None]]:
    """Return of every layout that can be used: path, labels, what they are, step size."""
    d = writers
    return {
        "mtt": (d.mtt(folder / "mtt", IMAGES, HARD), HARD, "classes", None),
        "ftd-ema": (d.ftd(folder / "ema", IMAGES, HARD), HARD, "classes", None),
        "mct-authors": (d.mct_authors(folder / "ipc", IMAGES, HARD, 2), HARD, "classes", None),
        "datm": (d.datm(folder / "datm", IMAGES, LOGITS, 0.02), LOGITS, "logits", 0.02),
        "seqmatch": (d.seqmatch(folder / "sq", [(IMAGES, HARD, 0.03)]) / "S_0", HARD, "classes", 0.03),
        "mkdt": (d.mkdt(folder / "mkdt", IMAGES, LOGITS, 0.04), LOGITS, "representations", 0.04),
        "mtt-parts": (d.parts(folder / "parts", IMAGES, HARD), HARD, "classes", None),
        "ddranking": (d.ddranking(folder / "dd", IMAGES, LOGITS, 0.05), LOGITS, "logits", 0.05),
        "condensation": (
            d.condensation(folder, "res_DM_CIFAR10_ConvNet_2ipc.pt", [(IMAGES, HARD)]), HARD, "classes", None
        ),
    }  # fmt: skip


def test_every_layout_is_recognised_and_read_as_it_is(tmp_path: Path) -> None:
    """Images bit for bit, labels as they are in the file, the step size only where there is a file for it."""
    for name, (path, own, meaning, rate) in write_all(tmp_path).items():
        found, notes = opened(path)
        assert found.layout.name == name
        assert torch.equal(found.found.images, IMAGES), name
        assert torch.equal(found.found.labels, own), name
        assert found.found.meaning == meaning
        assert found.found.learning_rate == (None if rate is None else pytest.approx(rate, rel=1e-7))
        (line,) = notes
        assert line.startswith(f"{path}: recognised as {name} (")
        assert not found.found.images.requires_grad
        for file in found.found.files:
            (place,) = [entry for entry in path.parent.rglob(file.name) if _sha(entry) == file.sha256][:1]
            assert place.is_file()


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_tables_names_are_unique_and_say_something() -> None:
    """Names are what --from takes."""
    names = [layout.name for layout in sets.LAYOUTS]
    assert len(set(names)) == len(names)
    assert all(layout.title and layout.files for layout in sets.LAYOUTS)


def test_best_of_a_folder_else_the_last(tmp_path: Path) -> None:
    """A folder means its best images, else those with the largest number; a file means itself."""
    folder = writers.mtt(tmp_path / "a", IMAGES, HARD, its=(0, 900, 1000))
    assert opened(folder)[1][0].count("the best or last of 4") == 1
    assert torch.equal(opened(folder / "images_900.pt")[0].found.images, IMAGES + 0.1)
    for name in ("images_best.pt", "labels_best.pt"):
        (folder / name).unlink()
    found, notes = opened(folder)
    assert "images_1000.pt" in notes[0]
    assert torch.equal(found.found.images, IMAGES)


def test_teacher_labels_are_probabilities(tmp_path: Path) -> None:
    """TESLA's rows sum to 1; looking tells, and the line says so."""
    found, notes = opened(writers.tesla(tmp_path / "a", IMAGES, LOGITS))
    assert (found.layout.name, found.found.meaning, found.found.classes) == ("mtt", "probabilities", 10)
    assert torch.equal(found.found.labels, SOFT)
    assert "all rows are from 0 to 1 and sum to 1" in notes[0]


def test_logits_without_a_step_size_are_ambiguous(tmp_path: Path) -> None:
    """Rows of floats that are no probabilities: the user says what they are, and the answer is used."""
    folder = writers.mtt(tmp_path / "a", IMAGES, LOGITS)
    with pytest.raises(ConfigError, match="--from datm for logits, --from mkdt"):
        opened(folder)
    told, notes = opened(folder, layout="datm")
    assert (told.found.meaning, told.found.learning_rate) == ("logits", None)
    assert "--from says so" in notes[0]


def test_naming_the_layout_overrides_looking(tmp_path: Path) -> None:
    """Rows that sum to 1 are logits where the user says that the files are DATM's."""
    folder = writers.datm(tmp_path / "a", IMAGES, SOFT, 0.01)
    assert opened(folder)[0].found.meaning == "probabilities"
    assert opened(folder, layout="datm")[0].found.meaning == "logits"
    plain, _ = opened(folder, layout="mtt")
    assert plain.found.learning_rate is None
    with pytest.raises(ConfigError, match="--from must be one of mct, npz"):
        opened(folder, layout="tm")


def test_representations_are_never_taken_for_probabilities(tmp_path: Path) -> None:
    """MKDT's labels are no classes, whatever they look like; its settings say data set and whitening."""
    found, _ = opened(writers.mkdt(tmp_path / "a", IMAGES, SOFT, 0.1, zca=True))
    assert found.found.meaning == "representations"
    assert (found.found.dataset, found.found.model) == ("CIFAR100", "ConvNet")
    assert found.found.preprocessing == trajfmt.Preprocessing(kind="zca")
    with pytest.raises(MismatchError, match="representations of a self-supervised teacher"):
        sets.settle(found, TOLD, root=None)


def test_experiments_of_one_file(tmp_path: Path) -> None:
    """One is taken as it is; of several the user chooses; NumPy's numbers beside them do no harm."""
    runs = [(IMAGES + number, HARD) for number in range(3)]
    path = writers.condensation(tmp_path, "res_DSA_CIFAR10_ResNet18_AP_2ipc.pt", runs)
    with pytest.raises(ConfigError, match="holds 3 experiments; choose one: --experiment 0 to 2"):
        opened(path)
    found, notes = opened(tmp_path, experiment=2)
    assert torch.equal(found.found.images, IMAGES + 2)
    assert (found.found.dataset, found.found.model) == ("CIFAR10", "ResNet18_AP")
    assert set(found.found.known_from.values()) == {"file name"}
    assert "experiment 2 of 3" in notes[0]
    with pytest.raises(ConfigError, match="experiments 0 to 2, not 3"):
        opened(path, experiment=3)
    writers.condensation(tmp_path, "res_DC_SVHN_ConvNet_2ipc.pt", runs[:1])
    with pytest.raises(ConfigError, match="holds 2 such files"):
        opened(tmp_path)
    assert opened(tmp_path / "res_DC_SVHN_ConvNet_2ipc.pt")[0].found.dataset is None


def test_numbers_of_numpy_run_no_code_of_numpy(tmp_path: Path) -> None:
    """Only the three names that a float needs are answered; anything else in the file is refused."""
    path = tmp_path / "res_DC_CIFAR10_ConvNet_1ipc.pt"
    torch.save({"data": [], "accs_all_exps": np.zeros(2)}, path)
    with pytest.raises(trajfmt.UnsafeError, match="_reconstruct"):
        opened(path)


def test_stages_of_a_run_are_sets_of_their_own(tmp_path: Path) -> None:
    """The folder of a run is refused with the names of its stages."""
    stages = [(IMAGES, HARD, 0.01), (IMAGES + 1, HARD, 0.02)]
    folder = writers.seqmatch(tmp_path / "run", stages)
    with pytest.raises(ConfigError, match="holds the stages S_0, S_1 of SeqMatch"):
        opened(folder)
    assert opened(folder / "S_1")[0].found.learning_rate == pytest.approx(0.02)


def test_sizes_in_one_folder_of_the_authors(tmp_path: Path) -> None:
    """Runs of several sizes lie side by side; the user names the file."""
    writers.mct_authors(tmp_path / "a", IMAGES, HARD, 2)
    folder = writers.mct_authors(tmp_path / "a", IMAGES[:10], writers.classes_of(10, 1), 1)
    with pytest.raises(ConfigError, match="sets of 1, 2 images per class"):
        opened(folder)
    assert len(opened(folder / "images_ipc-1_best.pt")[0].found.images) == 10


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(1).expand(20, 1, 20000, 20000),
        IMAGES.to_sparse(),
        IMAGES.to("meta"),
    ],
    ids=["expanded", "sparse", "meta"],
)
@pytest.mark.parametrize("name", ["images_best.pt", "labels_best.pt", "lr_best.pt"])
def test_tensors_without_memory_of_their_own_are_refused(tmp_path: Path, name: str, content) -> None:
    """A file of a few bytes stands neither for terabytes nor for numbers that are nowhere."""
    place = writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.02)
    torch.save(content, place / name)
    with pytest.raises(CorruptError, match=name):
        opened(place)


def test_infinite_class_numbers_are_refused(tmp_path: Path) -> None:
    """Labels of floats are class numbers only if they are numbers."""
    folder = writers.mtt(tmp_path / "a", IMAGES, torch.full((20,), float("inf")))
    with pytest.raises(CorruptError, match="expected class numbers"):
        opened(folder)


def test_a_flipped_bit_in_a_pixel_is_found(tmp_path: Path) -> None:
    """The file has a checksum of every member, which torch never compares."""
    path = writers.mtt(tmp_path / "a", IMAGES, HARD) / "images_best.pt"
    data = bytearray(path.read_bytes())
    at = data.find(IMAGES.numpy().tobytes())
    data[at + 1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="checksum"):
        opened(path)


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    """torch leaves them out where it is asked to."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        folder = writers.mtt(tmp_path / "a", IMAGES, HARD)
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(opened(folder)[0].found.images, IMAGES)


def test_a_missing_last_part_is_no_smaller_set(tmp_path: Path) -> None:
    """Five parts make a set: with four of them classes would be missing without a word."""
    folder = writers.parts(tmp_path / "a", IMAGES, HARD)
    for kind in ("images", "labels"):
        (folder / f"{kind}_best_4.pt").unlink()
    with pytest.raises(MissingError, match=r"images_best_4\.pt is missing"):
        opened(folder)


@pytest.mark.parametrize("classes", [-1, 0, 10**9])
def test_a_number_of_classes_that_cannot_be_is_refused(tmp_path: Path, classes: int) -> None:
    """It would be a table of that many logits an image."""
    folder = writers.mtt(tmp_path / "a", IMAGES, HARD)
    with pytest.raises(ConfigError, match="`classes` must be from 1"):
        convert(folder, tmp_path / "b", to="datm", told=Told(lr=0.1), classes=classes)
    assert not (tmp_path / "b").exists()


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    """By number, not by name, from the folder or from any part; a gap is named."""
    images, hard = writers.images_of(220), torch.arange(220) % 10
    folder = writers.parts(tmp_path / "a", images, hard, count=11)
    for path in (folder, folder / "images_best_3.pt"):
        found, notes = opened(path)
        assert torch.equal(found.found.images, images)
        assert torch.equal(found.found.labels, hard)
        assert "11 parts" in notes[0]
    (folder / "images_best_4.pt").unlink()
    with pytest.raises(MissingError, match=r"part images_best_4\.pt is missing"):
        opened(folder)


@pytest.mark.parametrize(
    ("make", "name", "error", "match"),
    [
        (lambda f: writers.haba(f, IMAGES), "", ResultError, "HaBa's images are combined with styles"),
        (lambda f: writers.haba(f, IMAGES), "images_0.pt", ResultError, "HaBa's images"),
        (lambda f: writers.mtt(f, IMAGES, HARD), "images_zca_1000.pt", ResultError, "pictures to look at"),
    ],
)
def test_what_cannot_be_trained_on_is_recognised_and_refused(
    tmp_path: Path, make, name, error, match
) -> None:
    """HaBa's hallucinator and the pictures with the whitening undone: one line each, naming what to give."""
    with pytest.raises(error, match=match):
        opened(make(tmp_path / "a") / name)


def _broken(folder: Path, case: str) -> Path:
    writers.mtt(folder, IMAGES, HARD, its=(0,))
    images, own = folder / "images_best.pt", folder / "labels_best.pt"
    match case:
        case "buffer":
            writers.buffer(images)
        case "named buffer":
            return writers.buffer(folder / "replay_buffer_0.pt")
        case "lengths":
            torch.save(HARD[:-1], own)
        case "no labels":
            own.unlink()
        case "nan":
            wrong = IMAGES.clone()
            wrong[3, 0, 0, :2] = float("nan")
            torch.save(wrong, images)
        case "nan labels":
            torch.save(torch.full((20, 10), float("nan")), own)
        case "class":
            torch.save({"images": pickle.PickleBuffer}, images)
        case "flat":
            torch.save(IMAGES.flatten(1), images)
        case "bytes":
            torch.save(IMAGES.to(torch.uint8), images)
        case "negative":
            torch.save(HARD - 1, own)
        case "halves":
            torch.save(HARD + 0.5, own)
        case "truncated":
            images.write_bytes(images.read_bytes()[:-100])
        case "text":
            images.write_text("images")
        case "empty":
            torch.save(IMAGES[:0], images)
        case "nothing":
            return folder / "absent"
        case "other":
            (folder / "x.txt").write_text("x")
            return folder / "x.txt"
        case "bundle":
            (folder / "manifest.json").write_text("{}")
            return folder
        case "run":
            return writers.datm(folder / "run", IMAGES, LOGITS, 0.1).parent
        case "folder":
            (folder / "sub").mkdir()
            return folder / "sub"
    return folder


@pytest.mark.parametrize(
    ("case", "error", "match"),
    [
        (
            "buffer",
            CorruptError,
            "found lists in a list, a buffer of trajectories perhaps, which traj convert",
        ),
        ("named buffer", ResultError, "a buffer of expert trajectories"),
        ("lengths", CorruptError, r"expected labels of 20 images, found int64 \(19,\)"),
        ("no labels", MissingError, r"labels_best\.pt: no such file; the labels of images_best\.pt"),
        ("nan", CorruptError, "2 of 1280 values are NaN"),
        ("nan labels", CorruptError, "a label is NaN"),
        ("class", trajfmt.UnsafeError, "PickleBuffer"),
        ("flat", CorruptError, r"square images \(N, C, H, W\) of floats, found float32 \(20, 64\)"),
        ("bytes", CorruptError, "found uint8"),
        ("negative", CorruptError, "class numbers from 0"),
        ("halves", CorruptError, "class numbers from 0"),
        ("truncated", trajfmt.CorruptError, "incomplete"),
        ("text", trajfmt.CorruptError, "not a file that torch.save wrote"),
        ("empty", CorruptError, "square images"),
        ("nothing", MissingError, "no such file or folder"),
        ("other", ResultError, "no file of distilled images by its name"),
        ("bundle", ResultError, "a bundle of trajectories"),
        ("folder", MissingError, "no synthetic.safetensors in it"),
        ("run", MissingError, "some lie in Normal"),
    ],
)
def test_wrong_inputs_say_what_was_found(tmp_path: Path, case: str, error, match: str) -> None:
    """One error with what was expected, what was found and where."""
    with pytest.raises(error, match=match):
        opened(_broken(tmp_path / "a", case))


@pytest.mark.parametrize("value", [0.0, -0.01, float("nan"), float("inf"), 1e31])
def test_step_sizes_that_nothing_can_use(tmp_path: Path, value: float) -> None:
    """A learned step size may have gone negative; it is not trained with."""
    folder = writers.datm(tmp_path / "a", IMAGES, LOGITS, value)
    with pytest.raises(CorruptError, match="is not a number above 0"):
        opened(folder)


def test_all_unknown_facts_are_asked_for_at_once(tmp_path: Path) -> None:
    """One line names every fact, every option, and where the codebase has it; nothing is assumed."""
    found, _ = opened(writers.mtt(tmp_path / "a", IMAGES, HARD))
    with pytest.raises(ConfigError) as asked:
        sets.settle(found, Told(), root=None)
    for word in ("--dataset", "--preprocessing", "--model", "--lr", "Synthetic_LR"):
        assert word in str(asked.value)
    with pytest.raises(ConfigError, match=r"do not say the step size; give --lr \(MTT"):
        sets.settle(found, replace(TOLD, lr=None), root=None)
    with pytest.raises(ConfigError, match="do not say what was done to its images; give --preprocessing"):
        sets.settle(found, replace(TOLD, preprocessing=None), root=None)


def test_what_files_say_is_used_and_recorded(tmp_path: Path) -> None:
    """The step size of the file, the flags for the rest; the origin says which is which."""
    found, _ = opened(writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.02))
    settled = sets.settle(found, replace(TOLD, lr=None), root=None)
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
    told = sets.settle(found, TOLD, root=None, notes=notes.append)
    assert told.synthetic.learning_rate == 0.05
    assert notes == ["the file says the step size 0.02; 0.05 is used, as --lr says"]


def test_one_protocol_for_all(tmp_path: Path) -> None:
    """A set evaluates as its images, labels and step size do when they are handed over directly."""
    settings = {"networks": 1, "epochs": 2, "augment": "none"}
    digits = datasets.load("digits", preprocessing=trajfmt.Preprocessing(kind="normalize"))
    model = networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10)
    for own, path in (
        (HARD, writers.mtt(tmp_path / "a", IMAGES, HARD)),
        (SOFT, writers.tesla(tmp_path / "b", IMAGES, LOGITS)),
    ):
        comparison = Comparison.prepare(
            path, dataset="digits", preprocessing="normalize", model="ConvNetD2W4", lr=0.05, **settings
        )
        expected = evaluate(IMAGES, own, 0.05, digits, model, EvaluateConfig(**settings))
        assert list(comparison.distilled()) == list(expected)


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
    assert any("1 of 10 classes have no image, the first is '9'" in line for line in notes)
    assert len(list(comparison.baseline())) == 5
    chosen = synthetic.pick_per_class(
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
        sets.settle(found, replace(TOLD, preprocessing=kind), root=None, notes=notes.append)
        assert len(notes) == 1
        assert words in notes[0]
        other = "none" if kind == "normalize" else "normalize"
        sets.settle(found, replace(TOLD, preprocessing=other), root=None, notes=pytest.fail)


@pytest.mark.parametrize(
    ("images", "own", "match"),
    [
        (
            writers.images_of(20, channels=3, size=32),
            HARD,
            r"images are \(3, 32, 32\), those of 'digits' \(1, 8",
        ),
        (IMAGES, HARD + 1, "labels are of 11 classes, 'digits' has 10"),
        (IMAGES, torch.full((20, 7), 1 / 7), "labels are of 7 classes, 'digits' has 10"),
    ],
)
def test_images_of_another_data_set(tmp_path: Path, images, own, match: str) -> None:
    """Shape and number of classes must be those of the data set."""
    found, _ = opened(writers.mtt(tmp_path / "a", images, own))
    with pytest.raises(MismatchError, match=match):
        sets.settle(found, TOLD, root=None)


def test_files_and_flags_that_contradict_each_other(tmp_path: Path) -> None:
    """The name of a file says CIFAR-10; another data set is not taken for it."""
    path = writers.condensation(tmp_path, "res_DC_CIFAR10_ConvNet_2ipc.pt", [(IMAGES, HARD)])
    with pytest.raises(MismatchError, match="from 'CIFAR10' by its files, `dataset` says 'digits'"):
        sets.settle(opened(path)[0], TOLD, root=None)
    zca, _ = opened(writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.1))
    stated = replace(zca, found=replace(zca.found, preprocessing=trajfmt.Preprocessing(kind="zca")))
    with pytest.raises(MismatchError, match="preprocessing is 'zca' by its files"):
        sets.settle(stated, TOLD, root=None)


def test_a_file_names_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that only the name of a file states is one of the table, or asked for; no code is run."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    runs = [(IMAGES, HARD)]
    path = writers.condensation(tmp_path, "res_DC_digits_evil:make_2ipc.pt", runs)
    told = replace(TOLD, dataset=None, model=None)
    with pytest.raises(ConfigError, match="do not say the network; give --model"):
        sets.settle(opened(path)[0], told, root=None)
    lenet, _ = opened(writers.condensation(tmp_path, "res_DC_digits_LeNet_2ipc.pt", runs))
    with pytest.raises(ConfigError, match="do not say the network"):
        sets.settle(lenet, told, root=None)


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
    told = replace(TOLD, dataset=str(mnist), model=None)
    settled = sets.settle(opened(path)[0], replace(told, model="ConvNetD2W4"), root=None)
    assert settled.dataset.transform.record.mean == [0.1307]
    assert settled.dataset.transform.record.std == [0.3081]
    cifar = _npz(tmp_path / "CIFAR100.npz")
    path = writers.condensation(tmp_path / "b", "res_DM_CIFAR100_ConvNet_2ipc.pt", [(IMAGES, HARD)])
    told = replace(TOLD, dataset=str(cifar))
    with pytest.raises(ConfigError, match=r"normalise CIFAR100 differently; give --mean 0\.5071"):
        sets.settle(opened(path)[0], told, root=None)
    settled = sets.settle(opened(path)[0], replace(told, mean=(0.5,), std=(0.25,)), root=None)
    assert settled.dataset.transform.record.std == [0.25]
    for wrong in ({"mean": (0.5,)}, {"mean": (0.5,), "std": (0.5,), "preprocessing": "zca"}, {"lr": -1.0}):
        with pytest.raises(ConfigError):
            replace(TOLD, **wrong)


def test_log_probabilities_have_the_same_distribution() -> None:
    """softmax(logits(p)) is p, zeros and ones included, to float32 rounding; class numbers become exact."""
    rows = torch.cat([SOFT, torch.nn.functional.one_hot(HARD[:3], 10).float(), torch.full((1, 10), 0.1)])
    rows[1] = torch.tensor([1e-30, 1 - 1e-7] + [0.0] * 8)
    found = labels.logits(rows, "probabilities", None)
    assert bool(found.isfinite().all())
    assert torch.allclose(found.softmax(1), rows, rtol=2e-5, atol=0)
    assert torch.equal(found.softmax(1) == 0, rows == 0)
    assert torch.equal(
        labels.logits(HARD, "classes", 10).softmax(1), torch.nn.functional.one_hot(HARD, 10) * 1.0
    )
    assert torch.equal(labels.logits(LOGITS, "logits", None), LOGITS)


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
    how = {"to": target, "told": Told(lr=0.02), "classes": 10 if source == "classes" else None}
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
    told = Told(lr=0.02)
    convert(source, tmp_path / "datm", to="datm", told=told, classes=10)
    rate = torch.load(tmp_path / "datm" / "lr_best.pt")
    assert (rate.shape, rate.dtype, rate.item()) == ((), torch.float32, pytest.approx(0.02))
    assert torch.load(tmp_path / "datm" / "labels_best.pt").dtype == torch.float32
    convert(source, tmp_path / "seq", to="seqmatch", told=told)
    assert torch.load(tmp_path / "seq" / "best_lr.pt").item() == pytest.approx(0.02)
    convert(source, tmp_path / "dd", to="ddranking", told=told)
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
        convert(source, tmp_path / "a", to="datm", told=Told(lr=0.1))
    with pytest.raises(MismatchError, match="a label is class 9, but `classes` is 5"):
        convert(source, tmp_path / "a", to="datm", told=Told(lr=0.1), classes=5)
    assert not (tmp_path / "a").exists()
    datm = writers.datm(tmp_path / "datm", IMAGES, LOGITS, 0.25)
    told = Told(lr=0.5, dataset="digits", model="ConvNet")
    _, replaced, _, lost, unused = convert(datm, tmp_path / "d", to="mtt", told=told)
    assert replaced == "the file says the step size 0.25; 0.5 is used, as --lr says"
    assert "no file for the step size, 0.5" in lost
    assert "no place for dataset and model" in unused
    *_, soft, lost = convert(datm, tmp_path / "b", to="mtt")
    assert "labels are probabilities, as TESLA writes them" in soft
    assert "no file for the step size, 0.25" in lost
    with pytest.raises(MismatchError, match="here classes differ in it"):
        convert(writers.mtt(tmp_path / "v", IMAGES[1:], HARD[1:]), tmp_path / "a", to="mct-authors")
    uneven = writers.mtt(tmp_path / "u", IMAGES, HARD.flip(0))
    assert any(
        "in order" in line for line in convert(uneven, tmp_path / "c", to="ddranking", told=Told(lr=1.0))
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
    with pytest.raises(ConfigError, match="say which layout to write, --to"):
        convert(source, tmp_path / "out")
    with pytest.raises(ConfigError, match="the layout npz is a file"):
        convert(source, tmp_path / "out", to="npz")
    with pytest.raises(ConfigError, match="recognised, but not written"):
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


def test_foreign_images_as_our_own_file(tmp_path: Path) -> None:
    """Everything that was read and told comes back, uneven classes too, and it evaluates without a flag."""
    hard = torch.cat([HARD[:18], torch.tensor([3, 3])])
    source = writers.mtt(tmp_path / "in", IMAGES, hard)
    dest = tmp_path / "out.safetensors"
    with pytest.raises(ConfigError, match="do not say the data set"):
        convert(source, dest)
    convert(source, dest, told=TOLD)
    found = synthetic.load(dest)
    assert torch.equal(found.images, IMAGES)
    assert torch.equal(found.labels, hard)
    assert isinstance(found.origin, ForeignOrigin)
    assert [file.name for file in found.origin.files] == ["images_best.pt", "labels_best.pt"]
    assert found.origin.files[0].sha256 == _sha(source / "images_best.pt")
    assert found.origin.preprocessing.images_sha256
    assert found.origin.model.width == 4
    with pytest.raises(ResultError, match="which no run of mct distilled"):
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
    with pytest.raises(ConfigError, match="is of this layout already"):
        convert(dest, tmp_path / "again.safetensors")


def test_soft_foreign_images_as_our_own_file(tmp_path: Path) -> None:
    """Logits become the probabilities that networks are trained with, and go back as the same ones."""
    source = writers.datm(tmp_path / "in", IMAGES, LOGITS, 0.02)
    convert(source, tmp_path / "out.safetensors", told=replace(TOLD, lr=None))
    convert(tmp_path / "out.safetensors", tmp_path / "back", to="datm")
    found = opened(tmp_path / "back")[0].found
    assert found.learning_rate == pytest.approx(0.02, rel=1e-7)
    assert torch.allclose(found.labels.softmax(1), SOFT, rtol=1e-5, atol=1e-7)
    assert torch.equal(found.images, IMAGES)


def test_our_own_result_for_other_codebases(tmp_path: Path, digits: datasets.Dataset) -> None:
    """A distilled result goes out with its step size and number of classes, which need no flags."""
    result = made(digits)
    synthetic.save(tmp_path / "synthetic.safetensors", result, digits)
    convert(tmp_path, tmp_path / "datm", to="datm")
    assert torch.equal(torch.load(tmp_path / "datm" / "images_best.pt"), result.images)
    assert torch.equal(torch.load(tmp_path / "datm" / "labels_best.pt").argmax(1), result.labels)
    convert(tmp_path, tmp_path / "authors", to="mct-authors")
    assert (tmp_path / "authors" / "images_ipc-2_best.pt").is_file()


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
        ({"meaning": np.array("classes")}, "`meaning` is classes"),
        ({"images": np.array("x")}, "expected square images"),
        ({"learning_rate": np.array(-1.0)}, "not a number above 0"),
        ({"labels": np.array([None])}, "cannot be read"),
    ):
        np.savez(tmp_path / "b.npz", **(arrays | change))
        with pytest.raises(CorruptError, match=match):
            opened(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorruptError, match="cannot be read"):
        opened(tmp_path / "c.npz")
