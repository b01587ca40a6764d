"""ZCA against kornia, in blocks, and its cache."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data import preprocessing, whitening  # noqa: E402
from mct.errors import DataError  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


@pytest.fixture
def images():
    """Return random images with some correlation between pixels."""
    noise = torch.rand(200, 3, 4, 4, generator=generator(0))
    return (2 * noise + noise.roll(1, 3)) / 3


def zca(images, **facts) -> preprocessing.Transform:
    """Fit whitening."""
    return preprocessing.fit(trajfmt.Preprocessing(kind="zca", **facts), images)


def test_zca_is_kornias(images) -> None:
    """Whitened images are those of the tool that MTT uses, with its eps."""
    enhance = pytest.importorskip("kornia.enhance")
    theirs = enhance.ZCAWhitening(eps=0.1, compute_inv=True).fit(images)
    ours = zca(images)
    assert torch.allclose(ours.forward(images), theirs(images), atol=1e-5)
    assert torch.allclose(ours.inverse(ours.forward(images)), images, atol=1e-5)


def test_zca_without_eps_whitens(images) -> None:
    """With eps near 0 the covariance of the result is the identity."""
    flat = zca(images, eps=1e-9).forward(images).flatten(1)
    assert torch.allclose(torch.cov(flat.T), torch.eye(48), atol=1e-2)


def test_one_image_cannot_be_whitened(images) -> None:
    """A covariance needs two images."""
    with pytest.raises(DataError, match="at least 2"):
        zca(images[:1])


@pytest.mark.parametrize("count", [200, 30])
def test_whitening_in_blocks_is_kornias(images, monkeypatch, count: int) -> None:
    """Mean, matrix and inverse agree to 1e-8 in float64, also with fewer images than pixels."""
    monkeypatch.setattr(whitening, "_COLUMNS", 20)
    theirs = whitening.fit_whole(images[:count], 0.1)
    ours = whitening.fit_in_blocks(images[:count], 0.1, rows=7)
    for name in ("mean", "matrix", "restore"):
        found, expected = getattr(ours, name), getattr(theirs, name)
        assert found.dtype == expected.dtype == torch.float64
        assert float((found - expected).abs().max()) < 1e-8


def test_large_sets_are_fitted_in_blocks(images, monkeypatch) -> None:
    """Two float64 copies above the limit are never made."""
    monkeypatch.setattr(whitening, "fit_whole", None)
    monkeypatch.setattr(whitening, "KORNIA_LIMIT", 16 * images.numel() - 1)
    matrix = whitening.fit(images, 0.1).matrix
    assert torch.allclose(matrix @ whitening.fit(images, 0.1).restore, torch.eye(48, dtype=matrix.dtype))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """Return an empty folder for the cache."""
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_whitening_is_computed_once(images, cache: Path, monkeypatch) -> None:
    """The second fit is read from the cache; other images or another eps are computed."""
    first = zca(images)
    assert first.record.images_sha256 in next(cache.iterdir()).name
    monkeypatch.setattr(whitening, "fit", None)
    second = zca(images)
    assert torch.equal(first.matrix, second.matrix)
    assert torch.equal(first.restore, second.restore)
    assert torch.equal(first.mean, second.mean)
    for changed, eps in ((images, 0.2), (images.flip(0), 0.1)):
        with pytest.raises(TypeError):
            zca(changed, eps=eps)


@pytest.mark.parametrize("damage", ["cut", "byte", "other", "empty", "folder"])
def test_damaged_cache_is_computed_again(images, cache: Path, damage: str) -> None:
    """Whatever lies in the cache, the matrix is that of these images."""
    expected = zca(images)
    (path,) = cache.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-50])
    elif damage == "byte":
        content[-50] ^= 1
        path.write_bytes(content)
    elif damage == "other":  # the whitening of other images, under this name
        path.unlink()
        zca(images / 2)
        next(cache.iterdir()).rename(path)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        path.mkdir()
    assert torch.equal(zca(images).matrix, expected.matrix)
    if damage != "folder":
        assert path.read_bytes() == content if damage != "byte" else path.stat().st_size == len(content)


def test_cache_that_cannot_be_written_is_no_error(images, cache: Path) -> None:
    """A file in the way of the folder costs the time, not the run."""
    cache.write_text("in the way")
    assert zca(images).matrix.shape == (48, 48)
    assert cache.read_text() == "in the way"
