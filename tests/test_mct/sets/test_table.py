"""The table of layouts, and the one that a path is of."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct import sets  # noqa: E402
from mct.errors import ConfigError, CorruptError, MissingError, ResultError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, LOGITS, SOFT, opened, write_all  # noqa: E402


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


def test_naming_the_layout_overrides_looking(tmp_path: Path) -> None:
    """Rows that sum to 1 are logits where the user says that the files are DATM's."""
    folder = writers.datm(tmp_path / "a", IMAGES, SOFT, 0.01)
    assert opened(folder)[0].found.meaning == "probabilities"
    assert opened(folder, layout="datm")[0].found.meaning == "logits"
    plain, _ = opened(folder, layout="mtt")
    assert plain.found.learning_rate is None
    with pytest.raises(ConfigError, match="--from must be one of mct, npz"):
        opened(folder, layout="tm")


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
            "found a list of lists, perhaps a buffer of trajectories, which traj convert",
        ),
        ("named buffer", ResultError, "a buffer of expert trajectories"),
        ("lengths", CorruptError, r"expected labels of 20 images, found int64 \(19,\)"),
        ("no labels", MissingError, r"labels_best\.pt: no such file; the labels of images_best\.pt"),
        ("nan", CorruptError, "2 of 1280 values are NaN"),
        ("nan labels", CorruptError, "a label is NaN"),
        ("class", trajfmt.UnsafeError, "PickleBuffer"),
        ("flat", CorruptError, r"square images \(N, C, H, W\) of a floating type, found float32 \(20, 64\)"),
        ("bytes", CorruptError, "found uint8"),
        ("negative", CorruptError, "class numbers from 0"),
        ("halves", CorruptError, "class numbers from 0"),
        ("truncated", trajfmt.CorruptError, "incomplete"),
        ("text", trajfmt.SourceError, "this is a text file"),
        ("empty", CorruptError, "square images"),
        ("nothing", MissingError, "no such file or folder"),
        ("other", ResultError, "not the name of a file of distilled images"),
        ("bundle", ResultError, "a bundle of trajectories"),
        ("folder", MissingError, "contains no synthetic.safetensors"),
        ("run", MissingError, "some are in Normal"),
    ],
)
def test_wrong_inputs_say_what_was_found(tmp_path: Path, case: str, error, match: str) -> None:
    """One error with what was expected, what was found and where."""
    with pytest.raises(error, match=match):
        opened(_broken(tmp_path / "a", case))


def test_images_of_another_layout_in_the_folder_are_named(tmp_path: Path) -> None:
    """An average beside the best images is chosen by the order of the table, so the other set is said."""
    for name in ("images_best.pt", "ema_images_best.pt"):
        torch.save(IMAGES, tmp_path / name)
    for name in ("labels_best.pt", "ema_labels_best.pt"):
        torch.save(HARD, tmp_path / name)
    notes: list[str] = []
    sets.open_set(tmp_path, notes=notes.append)
    assert any("not used: images_best.pt; give one of them instead" in note for note in notes)
    notes.clear()
    sets.open_set(tmp_path / "images_best.pt", notes=notes.append)
    assert not any("not used" in note for note in notes)
