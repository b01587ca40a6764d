"""Image files to one array: sizes, channels, scaling, and files that are no images."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from mct.data.readers.decode import decode, survey  # noqa: E402
from mct.errors import DataError  # noqa: E402


def picture(path: Path, pixels: np.ndarray) -> Path:
    """Write an array as PNG."""
    Image.fromarray(pixels).save(path)
    return path


def test_bytes_of_every_pixel(tmp_path: Path) -> None:
    """Channels come first; grey becomes three equal channels where colours are wanted."""
    rng = np.random.default_rng(0)
    colours, grey = rng.integers(0, 256, (5, 5, 3), np.uint8), rng.integers(0, 256, (5, 5), np.uint8)
    paths = [picture(tmp_path / "a.png", colours), picture(tmp_path / "b.png", grey)]
    assert survey(paths, resize=False)[:2] == (5, 3)
    assert survey(paths[1:], resize=False)[:2] == (5, 1)
    found = decode(paths, size=5, channels=3)
    assert np.array_equal(found[0], colours.transpose(2, 0, 1))
    assert np.array_equal(found[1], np.stack([grey] * 3))
    assert np.array_equal(decode(paths[1:], size=5, channels=1)[0, 0], grey)


def test_centre_of_the_scaled_image(tmp_path: Path) -> None:
    """The shorter side becomes `size`, then the middle is cut out: of 6 columns the inner two."""
    pixels = np.zeros((2, 6, 3), np.uint8)
    pixels[:, 2:4] = 200
    path = picture(tmp_path / "wide.png", pixels)
    assert (decode([path], size=2, channels=3, resize=True) == 200).all()
    assert survey([path], resize=True)[1] == 3


@pytest.mark.parametrize(
    ("shape", "words"), [((5, 4), "is 4x5, expected 5x5 as in a.png"), ((6, 6), "is 6x6")]
)
def test_sizes_must_agree(tmp_path: Path, shape: tuple[int, int], words: str) -> None:
    """The file is named, with its size and the expected one."""
    paths = [
        picture(tmp_path / "a.png", np.zeros((5, 5), np.uint8)),
        picture(tmp_path / "b.png", np.zeros(shape, np.uint8)),
    ]
    with pytest.raises(DataError, match=f"b.png: {words}"):
        survey(paths, resize=False)
    with pytest.raises(DataError, match=f"b.png: is {shape[1]}x{shape[0]}, expected 5x5"):
        decode(paths, size=5, channels=1)


def test_what_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    """A single image that is not square, one of 16 bits, and one that is cut."""
    with pytest.raises(DataError, match="is 5x4, expected a square image"):
        survey([picture(tmp_path / "a.png", np.zeros((4, 5), np.uint8))], resize=False)
    with pytest.raises(DataError, match="more than 8 bits per channel"):
        survey([picture(tmp_path / "b.png", np.zeros((4, 4), np.uint16))], resize=False)
    path = picture(tmp_path / "c.png", np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"c\.png: cannot be decoded as an image"):
        decode([path], size=40, channels=3)


def png16(path: Path, colour: int, channels: int) -> Path:
    """Write a PNG of 16 bits per channel: grey with alpha (4), RGB (2) or RGBA (6)."""
    rows = b"".join(b"\0" + struct.pack(">H", 700) * channels * 4 for _ in range(4))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, colour, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def test_more_than_eight_bits_are_refused_in_colour_too(tmp_path: Path) -> None:
    """Pillow would cut the lower bits off without a word. Eight bits in the same formats are accepted."""
    deep = [png16(tmp_path / f"{colour}.png", colour, n) for colour, n in ((4, 2), (2, 3), (6, 4))]
    deep.append(tmp_path / "a.ppm")
    deep[-1].write_bytes(b"P6\n4 4\n65535\n" + bytes(96))
    for path in deep:
        with pytest.raises(DataError, match=f"{path.name}: has more than 8 bits per channel"):
            survey([path], resize=False)
    plain = tmp_path / "b.ppm"
    plain.write_bytes(b"P6\n4 4\n255\n" + bytes(48))
    assert survey([plain], resize=False)[:2] == (4, 3)
    for name, suffix in (("RGB", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("RGB", "tiff")):
        Image.new(name, (4, 4)).save(tmp_path / f"{name}.{suffix}")
        assert survey([tmp_path / f"{name}.{suffix}"], resize=False)[0] == 4
    Image.new("RGB", (400, 400)).save(tmp_path / "c.bmp")
    assert survey([tmp_path / "c.bmp"], resize=False)[:2] == (400, 3)


def test_what_is_in_the_files_and_not_used_is_noted(tmp_path: Path) -> None:
    """Transparency is dropped, and a rotation that viewers apply is not."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    plain = Image.fromarray(pixels[..., :3])
    plain.save(tmp_path / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain.save(tmp_path / "turned.jpg", exif=exif)
    paths = [tmp_path / name for name in ("plain.png", "clear.png", "turned.jpg")]
    assert survey(paths, resize=False).notes == (
        f"{paths[1]}: 1 of 3 images have transparent pixels, whose transparency is not used",
        f"{paths[2]}: 1 of 3 images have a rotation in their EXIF data, which is not used",
    )
    assert survey(paths[:1], resize=False).notes == ()
