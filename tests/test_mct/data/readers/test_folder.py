"""Layouts of one file per image: Tiny-ImageNet and folders."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

import trajfmt  # noqa: E402
from mct.data.datasets import load  # noqa: E402
from mct.errors import ConfigError, DataError  # noqa: E402

PLAIN = trajfmt.Preprocessing(kind="none")


def picture(path: Path, seed: int, *, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> np.ndarray:
    """Write a smooth picture and return what Pillow decodes as RGB, `(3, H, W)`."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    with Image.open(path) as stored:
        return np.asarray(stored.convert("RGB")).transpose(2, 0, 1)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Write a folder of 8x8 images in every format: two classes, three training images each."""
    for number, suffix in enumerate(["png", "JPG", "bmp", "webp", "jpeg", "png"]):
        picture(tmp_path / "birds/train" / "ab"[number % 2] / f"{number}.{suffix}", number, size=(8, 8))
    for number in range(2):
        picture(tmp_path / "birds/val" / "ab"[number] / "x.png", 20 + number, size=(8, 8))
    (tmp_path / "birds/train/a/notes.txt").write_text("not an image")
    (tmp_path / "birds/train/.hidden").mkdir()
    return tmp_path / "birds"


def test_folder_of_images(birds: Path) -> None:
    """Sorted classes, sorted files, values as Pillow decodes them; the name is that of the folder."""
    found = load(f"{birds}/", preprocessing=PLAIN)
    assert (found.name, found.class_names) == ("birds", ("a", "b"))
    assert found.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    paths = sorted(path for path in birds.glob("train/*/*") if path.suffix != ".txt")
    expected = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths])
    assert torch.equal(found.train_images, torch.from_numpy(expected).float() / 255)


def test_grey_folder_has_one_channel(birds: Path) -> None:
    """One channel only where every image is grey."""
    picture(birds / "train/a/0.png", 0, size=(8, 8), mode="L")
    assert load(birds).channels == 3
    shutil.rmtree(birds / "train/b")
    shutil.rmtree(birds / "val/b")
    for path in [*birds.glob("*/*/*.*")]:
        path.unlink()
    for split in ("train", "test"):
        picture(birds / split / "a/0.png", 0, size=(8, 8), mode="L")
    assert load(birds, preprocessing=PLAIN).train_images.shape == (1, 1, 8, 8)


def test_folder_is_scaled_when_asked(birds: Path) -> None:
    """The shorter side becomes the size and the centre is kept; else another size is an error."""
    wide = picture(birds / "train/a/0.png", 0, size=(16, 8))
    with pytest.raises(DataError, match=r"0\.png: is 16x8, expected a square image"):
        load(birds)
    found = load(birds, preprocessing=PLAIN, image_size=8)
    assert torch.equal(found.train_images[0], torch.from_numpy(wide[:, :, 4:12].copy()).float() / 255)
    assert load(birds, image_size=4).image_size == 4
    with pytest.raises(ConfigError, match="image_size"):
        load("digits", image_size=8)


FOLDER_FAULTS = {
    "train": (lambda r: shutil.rmtree(r / "train"), "needs train/<class>"),
    "test": (lambda r: shutil.rmtree(r / "val"), "needs test/<class> or val/<class>"),
    "empty": (lambda r: (r / "val/b/x.png").unlink(), "val/b: contains no image"),
    "class": (lambda r: picture(r / "val/c/x.png", 0, size=(8, 8)), "val/c: is not a class of `train`"),
    "size": (
        lambda r: picture(r / "train/b/5.png", 0, size=(9, 9)),
        "5.png: is 9x9, expected 8x8 as in 0.png",
    ),
    "damage": (lambda r: (r / "train/b/5.png").write_bytes(b"no image"), "5.png: cannot be decoded"),
    "deep": (lambda r: Image.new("I;16", (8, 8)).save(r / "train/b/5.png"), "5.png: has more than 8 bits"),
}


@pytest.mark.parametrize("case", FOLDER_FAULTS)
def test_faulty_folder_names_the_file(birds: Path, case: str) -> None:
    """What is missing, odd or damaged is named."""
    edit, message = FOLDER_FAULTS[case]
    edit(birds)
    with pytest.raises(DataError, match=message):
        load(birds)


@pytest.mark.parametrize("suffix", ["tif", "TIFF", "gif", "ppm", "pgm", "jfif"])
def test_every_format_with_one_image_is_read(birds: Path, suffix: str) -> None:
    """Beside other formats, in its place of the order."""
    expected = picture(birds / f"train/a/00.{suffix}", 9, size=(8, 8))
    found = load(birds, preprocessing=PLAIN)
    assert found.notes == ()
    assert len(found.train_labels) == 7
    assert any(np.array_equal((image.numpy() * 255).round(), expected) for image in found.train_images)


def test_several_frames_in_one_file_are_refused(birds: Path) -> None:
    """Which of them is the image would be a silent choice."""
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(birds / "train/a/00.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"00\.gif: has 2 frames, expected a single image"):
        load(birds, preprocessing=PLAIN)


def test_images_that_are_not_used_are_named(birds: Path) -> None:
    """By suffix or by their first bytes, in a class, in its subfolders, or beside the classes."""
    shutil.copy(birds / "train/a/0.png", birds / "train/a/copy")
    (birds / "train/a/photo.heic").write_bytes(b"x")
    (birds / "train/a/deep").mkdir()
    shutil.copy(birds / "train/a/0.png", birds / "train/a/deep/0.png")
    shutil.copy(birds / "train/a/0.png", birds / "train/loose.png")
    beside, inside = load(birds, preprocessing=PLAIN).notes
    assert beside.startswith(f"{birds / 'train'}: 1 of ")
    assert "loose.png" in beside
    assert inside.startswith(f"{birds / 'train/a'}: 3 of 7 entries look like images and are not used: ")
    assert "copy, deep/, photo.heic" in inside


def test_a_second_test_set_and_an_untested_class_are_named(birds: Path) -> None:
    """Neither is used without a word."""
    picture(birds / "test/a/x.png", 1, size=(8, 8))
    notes = load(birds, preprocessing=PLAIN).notes
    assert notes == (
        f"{birds / 'val'}: not used, as {birds / 'test'} is the test set",
        f"{birds / 'test'}: has no images of b, which are not tested",
    )


def test_images_further_down_and_beside_are_named(birds: Path) -> None:
    """Two folders below a class, in a further split, and beside the splits; other folders are no matter."""
    for place in ("train/a/x/y", "extra/a", "unlabelled"):
        (birds / place).mkdir(parents=True)
        shutil.copy(birds / "train/a/0.png", birds / place / "0.png")
    shutil.copy(birds / "train/a/0.png", birds / "cover.png")
    (birds / "logs/deep").mkdir(parents=True)
    (birds / "logs/deep/log.txt").write_text("no image")
    beside, loose, inside = load(birds, preprocessing=PLAIN).notes
    assert beside == f"{birds}: folders with images that are not used: extra, unlabelled"
    assert "cover.png" in loose
    assert inside.startswith(f"{birds / 'train/a'}: 1 of ")
    assert "x/" in inside


def test_a_class_whose_images_are_all_of_an_unknown_format(birds: Path) -> None:
    """The error says what is there."""
    for file in (birds / "train/b").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"contains no image .*3 of 3 entries look like images"):
        load(birds, preprocessing=PLAIN)


def test_a_pipe_among_the_images_is_refused(birds: Path) -> None:
    """It would block the reader for ever."""
    folder = next(path for path in (birds / "train").iterdir() if path.is_dir())
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: a broken link, or no regular file"):
        load(str(birds), preprocessing=PLAIN)
