"""Tiny-ImageNet."""

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402

import trajfmt  # noqa: E402
from mct.data.datasets import load  # noqa: E402
from mct.errors import DataError  # noqa: E402

PLAIN = trajfmt.Preprocessing(kind="none")
WNIDS = ["n03", "n01", "n02"]  # wnids.txt is not sorted


def picture(path: Path, seed: int, *, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> np.ndarray:
    """Write a smooth picture and return what Pillow decodes as RGB, `(3, H, W)`."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Write Tiny-ImageNet with three classes; one picture is grey."""
    root = tmp_path / "tiny-imagenet-200"
    found = {}
    for number, wnid in enumerate(WNIDS):
        for image in range(2):
            name = f"{wnid}_{image}.JPEG"
            mode = "L" if name == "n01_1.JPEG" else "RGB"
            found[name] = picture(root / "train" / wnid / "images" / name, 10 * number + image, mode=mode)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("n\t0\t0\t9\t9\n")
        found[f"val_{number}.JPEG"] = picture(root / "val/images" / f"val_{number}.JPEG", 90 + number)
    rows = [f"val_{number}.JPEG\t{wnid}\t0\t0\t62\t62\n" for number, wnid in enumerate(WNIDS)]
    (root / "val/val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tbullfrog\nn99\tentity\n")
    return root, found


@pytest.mark.parametrize("inside", [False, True])
def test_tiny_imagenet(tiny, inside: bool) -> None:
    """Classes in MTT's order, sorted; images decoded as Pillow does; grey ones have three channels."""
    root, pictures = tiny
    found = load("Tiny", preprocessing=PLAIN, root=root if inside else root.parent)
    order = [f"{wnid}_{image}.JPEG" for wnid in sorted(WNIDS) for image in range(2)]
    expected = torch.from_numpy(np.stack([pictures[name] for name in order])).float() / 255
    assert torch.equal(found.train_images, expected)
    assert torch.equal(found.train_images[1, 0], found.train_images[1, 2])
    assert found.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.test_labels.tolist() == [2, 0, 1]
    assert torch.equal(found.test_images[0], torch.from_numpy(pictures["val_0.JPEG"].copy()).float() / 255)
    assert found.class_names == ("goldfish", "bullfrog", "n03")


def test_tiny_imagenet_as_mtt_wants_it(tiny) -> None:
    """Validation images sorted into folders give the same set."""
    root, _ = tiny
    before = load("Tiny", root=root)
    for number, wnid in enumerate(WNIDS):
        (root / "val/images" / wnid).mkdir()
        (root / f"val/images/val_{number}.JPEG").rename(root / f"val/images/{wnid}/val_{number}.JPEG")
    after = load("Tiny", root=root)
    (root / "val/val_annotations.txt").unlink()
    assert torch.equal(load("Tiny", root=root).test_images, after.test_images)
    assert after.test_labels.tolist() == [0, 1, 2]
    assert torch.equal(after.test_images, before.test_images[[1, 2, 0]])
    assert after.transform.record.mean == [0.485, 0.456, 0.406]


def sort(root: Path, number: int, wnid: str) -> None:
    """Move a validation image into the folder of a class."""
    (root / "val/images" / wnid).mkdir(exist_ok=True)
    (root / f"val/images/val_{number}.JPEG").rename(root / f"val/images/{wnid}/val_{number}.JPEG")


SORTED_FAULTS = {
    "half": ([(0, "n03")], (), "1 images are in the folders of classes, but 2 are not, such as val_1.JPEG"),
    "gone": ([(0, "n03")], (1, 2), "val_1.JPEG is in no folder, but val_annotations.txt gives it .* n01"),
    "other": ([(0, "n03"), (1, "n02"), (2, "n02")], (), "val_1.JPEG is in the folder n02, .* class n01"),
}


@pytest.mark.parametrize("case", SORTED_FAULTS)
def test_validation_images_that_are_sorted_in_part_or_wrongly(tiny, case: str) -> None:
    """The test set does not become smaller or another one: one line names the image."""
    root, _ = tiny
    moves, removed, message = SORTED_FAULTS[case]
    for number, wnid in moves:
        sort(root, number, wnid)
    for number in removed:
        (root / f"val/images/val_{number}.JPEG").unlink()
    with pytest.raises(DataError, match=message):
        load("Tiny", root=root)


TINY_FAULTS = {
    "class": (lambda r: shutil.rmtree(r / "train/n02"), "train/n02: missing; found 2 classes, expected 3"),
    "extra": (lambda r: (r / "train/n09").mkdir(), "train/n09: not in wnids.txt"),
    "empty": (lambda r: shutil.rmtree(r / "train/n02/images"), "n02/images: contains no image"),
    "val": (lambda r: shutil.rmtree(r / "val"), "val: missing; Tiny needs train, val"),
    "annotations": (lambda r: (r / "val/val_annotations.txt").unlink(), "annotations.txt: cannot be read"),
    "image": (lambda r: (r / "val/images/val_1.JPEG").unlink(), "val_1.JPEG: cannot be decoded"),
    "cut": (lambda r: (r / "val/images/val_1.JPEG").write_bytes(
        (r / "val/images/val_1.JPEG").read_bytes()[:-200]), "val_1.JPEG: cannot be decoded"),
    "size": (lambda r: picture(r / "train/n01/images/n01_0.JPEG", 0, size=(64, 60)), "n01_0.*64x60, .*64x64"),
    "label": (lambda r: (r / "val/val_annotations.txt").write_text("val_0.JPEG\tn77\n"), "class 'n77'"),
    "line": (lambda r: (r / "val/val_annotations.txt").write_text("val_0.JPEG\tn01\nval_1\n"), "line 2"),
    "twice": (lambda r: (r / "val/val_annotations.txt").write_text("val_0.JPEG\tn01\n" * 2), "has two lines"),
    "contradiction": (lambda r: (r / "val/val_annotations.txt").write_text(
        "val_0.JPEG\tn01\nval_0.JPEG\tn02\n"), "val_0.JPEG has the classes 'n01' and 'n02'"),
    "path": (lambda r: (r / "val/val_annotations.txt").write_text("../a.JPEG\tn01\n"), "expected the name"),
}  # fmt: skip


@pytest.mark.parametrize("case", TINY_FAULTS)
def test_faulty_tiny_imagenet_names_the_file(tiny, case: str) -> None:
    """What is missing or damaged is named."""
    edit, message = TINY_FAULTS[case]
    edit(tiny[0])
    with pytest.raises(DataError, match=message):
        load("Tiny", root=tiny[0])


def test_images_that_no_list_names_are_named(tiny) -> None:
    """An image without an annotation, and one of another format, are not read."""
    root, _ = tiny
    (folder,) = [path for path in (root, root / "tiny-imagenet-200") if (path / "train").is_dir()]
    assert load("Tiny", preprocessing=PLAIN, root=root).notes == ()
    (folder / "val/images/more.JPEG").write_bytes(b"x")
    one = next((folder / "train").iterdir()) / "images"
    (one / "odd.heic").write_bytes(b"x")
    train, val = load("Tiny", preprocessing=PLAIN, root=root).notes
    assert "odd.heic" in train
    assert "more.JPEG" in val
