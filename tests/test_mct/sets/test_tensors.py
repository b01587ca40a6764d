"""Files of one tensor: memory of its own, checksums, numbers that can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.errors import CorruptError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, LOGITS, opened  # noqa: E402


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


@pytest.mark.parametrize("value", [0.0, -0.01, float("nan"), float("inf"), 1e31])
def test_step_sizes_that_nothing_can_use(tmp_path: Path, value: float) -> None:
    """A learned step size may have gone negative; it is not trained with."""
    folder = writers.datm(tmp_path / "a", IMAGES, LOGITS, value)
    with pytest.raises(CorruptError, match="must be a finite number > 0"):
        opened(folder)
