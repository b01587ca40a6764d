"""Distilled images with the names of their classes."""

import io
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
figures = pytest.importorskip("matplotlib.figure")
image = pytest.importorskip("PIL.Image")

from mct.errors import ConfigError  # noqa: E402
from mct.plots.images import Images, images  # noqa: E402
from trajfmt.plots import Page, render  # noqa: E402

NAMES = ("$cat", "_dog", "a very long list of synonyms, and more")


def some(labels: list[int], channels: int = 3) -> Images:
    """Return images of one colour each, 4 x 4."""
    values = np.linspace(-0.5, 1.5, len(labels), dtype=np.float32)
    pixels = np.broadcast_to(values[:, None, None, None], (len(labels), channels, 4, 4)).copy()
    return Images(pixels=pixels, labels=np.array(labels), class_names=NAMES, dataset="pets")


def painted(plot: Images) -> tuple[list[str], list[np.ndarray]]:
    """Draw a plot; return the names in it, and the strips of images."""
    figure = figures.Figure(figsize=plot.size)
    plot.paint(figure)
    (axes,) = figure.axes
    texts = [*axes.texts, *axes.get_yticklabels()]
    return [text.get_text() for text in texts], [np.asarray(strip.get_array()) for strip in axes.images]


def test_one_image_per_class_has_its_name_below() -> None:
    """In the order of classes, whatever the order of images; a long name is cut, and no name is a formula."""
    names, strips = painted(some([1, 0, 2]))
    assert names == ["$cat", "_dog", "a very long list of s…"]
    assert len(strips) == 2
    height, width, _ = strips[0].shape
    assert width == 2 * height
    assert strips[0][height // 2, [height // 2, -height // 2], 0].tolist() == [128, 0]


def test_several_images_per_class_are_a_row() -> None:
    """Named at its beginning; classes may have different numbers of images, and one may have none."""
    names, strips = painted(some([2, 0, 2, 0, 2]))
    assert names == ["$cat", "a very long list of s…"]
    assert [round(strip.shape[1] / strip.shape[0]) for strip in strips] == [2, 3]


@pytest.mark.parametrize("channels", [1, 3])
def test_picture(channels: int) -> None:
    """Values beyond [0, 1] are drawn as black and white, and one channel is grey."""
    with image.open(io.BytesIO(render(some([0, 1, 2], channels), "png", Page(dpi=60)))) as picture:
        found = np.asarray(picture.convert("RGB"))
    for level in (0, 128, 255):
        assert (found == level).all(axis=2).sum() > 300


def test_numbers_are_the_pixels() -> None:
    """A row for every image, with its class by number and full name, and float32 as they are."""
    plot = some([1, 2], 1)
    rows = plot.table().csv().decode().splitlines()
    assert rows[0].startswith("image,class_number,class_name,pixel_0_0_0,pixel_0_0_1,")
    assert rows[1].startswith("0,1,_dog,-0.5,")
    assert rows[2].startswith('1,2,"a very long list of synonyms, and more",1.5,')
    assert rows[0].count(",") == 2 + 16


def test_size_follows_the_number_of_images() -> None:
    """Ten classes fit into one column of a paper; many images take two, and more height."""
    wide = Images(
        pixels=np.zeros((100, 1, 4, 4), "f4"), labels=np.arange(100), class_names=("x",) * 100, dataset="d"
    )
    assert some([0, 1, 2]).size[0] == 3.5
    assert wide.size[0] == 7.0
    assert wide.size[1] > 7.0


def test_of_a_run(saved_result: Path) -> None:
    """The pixels of the file, without preprocessing; as many of each class as are requested."""
    found = images(saved_result)
    assert found.pixels.shape[0] == len(found.labels) == 20
    assert found.class_names[:2] == ("0", "1")
    first = images(saved_result, per_class=1)
    assert first.labels.tolist() == list(range(10))
    np.testing.assert_array_equal(first.pixels, found.pixels[::2])
    with pytest.raises(ConfigError, match="`per_class` must be >= 1, got 0"):
        images(saved_result, per_class=0)
