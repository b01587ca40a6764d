"""The whitening of directions against a plain transcription of RaT-BPTT's formula, and its record."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
from mct.data import preprocessing, record, whitening  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


@pytest.fixture
def images():
    """Return random images with some correlation between pixels."""
    noise = torch.rand(200, 3, 4, 4, generator=generator(0))
    return (2 * noise + noise.roll(1, 3)) / 3


def expected(train, other, share: float = 0.1):
    """Return whitened images, in numpy: each without its mean and with norm 1, then whitened by all."""
    flat, rows = (each.double().flatten(1).numpy() for each in (train, other))
    flat, rows = (each - each.mean(1, keepdims=True) for each in (flat, rows))
    flat, rows = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (flat, rows))
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    whole = vectors @ np.diag((values + share * values.mean()) ** -0.5) @ vectors.T
    return torch.from_numpy(rows @ whole).view(other.shape)


def test_whitening_of_directions(images) -> None:
    """Images of either split are whitened by the directions of the training images, fitted in any blocks."""
    transform = preprocessing.fit(record.Preprocessing(kind="unit-zca"), images)
    others = torch.rand(9, 3, 4, 4, generator=generator(1)) * 0.3
    torch.testing.assert_close(
        transform.forward(others).double(), expected(images, others), atol=2e-5, rtol=0
    )
    whole, parts = (whitening.fit_directions(images, 0.1, rows=rows) for rows in (None, 33))
    torch.testing.assert_close(whole.matrix, parts.matrix, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(whole.restore, parts.restore, rtol=1e-9, atol=1e-12)


def test_the_inverse_gives_the_mean_norm_and_the_mean(images) -> None:
    """An image comes back with its own contrast and brightness replaced by the usual ones."""
    transform = preprocessing.fit(record.Preprocessing(kind="unit-zca"), images)
    whitened = transform.forward(images)
    back = transform.inverse(whitened).flatten(1)
    torch.testing.assert_close(transform.inverse(0.1 * whitened).flatten(1), back, atol=1e-5, rtol=0)
    flat = images.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    torch.testing.assert_close(back, centred / norms * norms.mean() + flat.mean(), atol=1e-5, rtol=0)


def test_an_image_of_one_colour_becomes_zero() -> None:
    """It has no direction; the published code divides by zero."""
    flat = torch.stack([torch.full((12,), 0.5), torch.arange(12.0)])
    found = whitening.directions(flat)
    assert found[0].abs().max() == 0
    assert float(found[1].norm()) == pytest.approx(1)


def test_the_cache_keeps_the_kinds_apart(images, tmp_path, monkeypatch) -> None:
    """Both whitenings of the same images and number are stored, and read again as they were."""
    monkeypatch.setattr(whitening, "cache_folder", lambda: tmp_path)
    kinds = ("zca", "unit-zca")
    first = [whitening.cached(images, 0.1, images_sha256="ab", kind=kind) for kind in kinds]
    again = [whitening.cached(images, 0.1, images_sha256="ab", kind=kind) for kind in kinds]
    assert len(list(tmp_path.iterdir())) == 2
    assert all(torch.equal(one.matrix, two.matrix) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0].matrix, first[1].matrix)
