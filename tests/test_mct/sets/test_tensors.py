"""Files of one tensor: memory of its own, checksums, numbers that can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.errors import CorruptError, ResultError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, LOGITS, opened  # noqa: E402


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (torch.zeros(1).expand(20, 1, 20000, 20000), CorruptError),
        (IMAGES.to_sparse(), ResultError),
        (IMAGES.to("meta"), ResultError),
    ],
    ids=["expanded", "sparse", "meta"],
)
@pytest.mark.parametrize("name", ["images_best.pt", "labels_best.pt", "lr_best.pt"])
def test_tensors_without_memory_of_their_own_are_refused(tmp_path: Path, name: str, content, error) -> None:
    """A file of a few bytes stands neither for terabytes nor for numbers that are nowhere."""
    place = writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.02)
    torch.save(content, place / name)
    with pytest.raises(error, match=name):
        opened(place)


@pytest.mark.filterwarnings("ignore")  # torch's own, on quantised tensors
def test_quantised_images_are_named(tmp_path: Path) -> None:
    """They are sound, and of no kind that is read: exit 3."""
    place = writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.02)
    torch.save(torch.quantize_per_tensor(IMAGES, 0.1, 0, torch.quint8), place / "images_best.pt")
    with pytest.raises(ResultError, match=r"images_best\.pt.*quantised"):
        opened(place)


def test_expanded_images_and_newer_pickles_are_read(tmp_path: Path) -> None:
    """One grey channel shown as three, and a file of pickle protocol 4, have all their numbers."""
    grey = IMAGES[:, :1].clone().expand(-1, 3, -1, -1)
    for protocol in (2, 4):
        folder = writers.mtt(tmp_path / str(protocol), IMAGES, HARD)
        torch.save(grey, folder / "images_best.pt", pickle_protocol=protocol)
        found = opened(folder)[0].found
        assert torch.equal(found.images, grey)
        assert torch.equal(found.labels, HARD)


def test_a_pointer_in_place_of_images_is_named(tmp_path: Path) -> None:
    """What a clone without its large files holds is no damage."""
    place = writers.datm(tmp_path / "a", IMAGES, LOGITS, 0.02)
    (place / "images_best.pt").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 7\n"
    )
    with pytest.raises(trajfmt.SourceError, match="git lfs pull"):
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
    with pytest.raises(trajfmt.CorruptError, match="CRC-32"):
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
