"""What looks odd about a set, though nothing forbids it."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset, load  # noqa: E402
from mct.sets.looks import odd  # noqa: E402
from tests.helpers.made import made  # noqa: E402


def test_normalised_images_look_like_it(digits: Dataset) -> None:
    """Real ones have nothing odd; scaled into [0, 1] they are asked about, with their range."""
    found = made(digits)
    assert list(odd(found, digits)) == []
    pixels = replace(found, images=torch.linspace(0, 1, found.images.numel()).view_as(found.images))
    (line,) = odd(pixels, digits)
    assert line.startswith(
        "all pixels lie in [0, 1], from 0 to 1, like those of images without preprocessing; "
    )
    assert "check that the preprocessing is 'normalize' (--preprocessing)" in line


@pytest.mark.parametrize(("outside", "lines"), [(0.25, 0), (0.26, 1)])
def test_plain_images_may_leave_their_range_a_little(outside: float, lines: int) -> None:
    """Up to a quarter of the pixels; more than that is told as a share."""
    plain = load("digits", preprocessing=trajfmt.Preprocessing(kind="none"))
    found = made(plain, ipc=10)
    images = torch.full((found.images.numel(),), 0.5)
    images[: round(outside * len(images))] = 1.5
    told = list(odd(replace(found, images=images.view_as(found.images)), plain))
    assert len(told) == lines
    if lines:
        assert told[0].startswith("26% of the pixels lie outside [0, 1], from 0.5 to 1.5; ")


def test_classes_without_images_are_counted(digits: Dataset) -> None:
    """How many, and the first by name."""
    found = made(digits)
    kept = found.labels > 1
    some = replace(found, images=found.images[kept], labels=found.labels[kept])
    assert list(odd(some, digits)) == ["2 of 10 classes have no image; the first of them is '0'"]
