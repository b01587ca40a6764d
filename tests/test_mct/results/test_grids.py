"""Pictures of images."""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
image = pytest.importorskip("PIL.Image")

from mct.results import grids  # noqa: E402


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_columns_and_values(channels: int) -> None:
    """Images stand in rows, enlarged without blending, values exact to a byte."""
    pixels = torch.linspace(0, 1, 6 * channels * 4).reshape(6, channels, 2, 2)
    picture = image.open(io.BytesIO(grids.png(grids.grid(pixels, columns=3))))
    array = np.asarray(picture)
    assert array.shape == (2 + 2 * 66, 2 + 3 * 66, 3)
    cell = array[2 + 66 : 66 + 66, 2 + 66 : 66 + 66]  # second row, second column: number 4
    expected = (pixels[4] * 255).round().byte().permute(1, 2, 0).expand(2, 2, 3).numpy()
    assert np.array_equal(cell, expected.repeat(32, 0).repeat(32, 1))
    assert (array[:2] == 255).all()


def test_values_outside_are_clamped() -> None:
    """Learned images may leave [0, 1]; pictures do not wrap around."""
    array = np.asarray(grids.grid(torch.tensor([-1.0, 2.0]).reshape(2, 1, 1, 1), columns=1))
    assert (array[2, 2] == 0).all()
    assert (array[70, 2] == 255).all()
