"""Layouts of one file per image: Tiny-ImageNet and folders."""

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
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


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
