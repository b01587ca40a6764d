"""What a synthetic dataset shows of itself, small whatever is in it."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.results.preview import choose, visible  # noqa: E402
from mct.results.synthetic import SyntheticDataset  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.made import made  # noqa: E402


def picture_of(html: str) -> Image.Image:
    """Return the picture in a fragment of HTML."""
    found = re.search(r'src="data:image/png;base64,([^"]*)"', html)
    assert found is not None
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def noise(start: SyntheticDataset, shape: tuple[int, int, int], classes: int, ipc: int) -> SyntheticDataset:
    """Return a set of random images, which no PNG makes smaller."""
    images = torch.randn(classes * ipc, *shape, generator=generator(0))
    names = tuple(f"<class & name {number}>" * 40 for number in range(classes))
    whitened = trajfmt.Preprocessing(kind="zca", eps=0.1)
    origin = replace(start.origin, dataset="<script>" * 100, class_names=names, preprocessing=whitened)
    return replace(start, images=images, labels=torch.arange(classes).repeat_interleave(ipc), origin=origin)


def test_text_is_one_line(digits: Dataset) -> None:
    """Without the values of tensors."""
    assert repr(made(digits, ipc=1)) == (
        "<mct.SyntheticDataset 'digits': 10 images 1×8×8 of 10 classes, learning rate 0.01>"
    )


def test_picture_has_the_pixels_of_the_images(digits: Dataset) -> None:
    """The normalisation is undone: each cell of the grid is the pixels of its image, in 8 bits."""
    start = made(digits, ipc=3)
    array = np.asarray(picture_of(start._repr_html_()).convert("L"))
    pixels = (digits.pixels(start.images) * 255).round().byte().numpy()
    for number in range(30):
        top, left = 2 + number // 3 * 10, 2 + number % 3 * 10
        assert np.array_equal(array[top : top + 8, left : left + 8], pixels[number, 0])
    assert "30 of 30 images, one class after the other<" in start._repr_html_()


@pytest.mark.parametrize(
    ("shape", "classes", "ipc"),
    [
        ((3, 32, 32), 10, 10),
        ((3, 32, 32), 100, 1),
        ((3, 64, 64), 200, 2),
        ((3, 300, 300), 2, 1),
        ((1, 8, 8), 10, 50),
    ],
)
def test_any_set_stays_small(digits: Dataset, shape: tuple[int, int, int], classes: int, ipc: int) -> None:
    """At most 50 kB with images that cannot be compressed, and names in markup are escaped."""
    html = noise(made(digits), shape, classes, ipc)._repr_html_()
    assert len(html.encode()) <= 50_000
    assert "<script" not in html
    assert "<class" not in html
    assert "as networks see them" in html
    picture_of(html).verify()


def test_images_are_chosen_fairly() -> None:
    """Equally many of each class; one of the first classes if there are too many; a lacking class is seen."""
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    assert [each.tolist() if torch.is_tensor(each) else each for each in choose(labels, 3, 8)] == [
        [0, 1, 3, 4, 5, 6],
        2,
    ]
    assert choose(labels, 3, 2)[0].tolist() == [0, 3]
    assert choose(labels, 4, 8)[0].tolist() == list(range(8))


def test_whitened_images_are_stretched() -> None:
    """Each by itself, to [0, 1]; one of a single value does not divide by zero."""
    images = torch.stack([torch.arange(4.0).reshape(1, 2, 2) - 7, torch.ones(1, 2, 2)])
    pixels, how = visible(images, trajfmt.Preprocessing(kind="zca"))
    assert pixels[0].flatten().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert pixels[1].isfinite().all()
    assert how == ", as networks see them"
