"""Normalisation and whitening against their definitions and kornia."""

import hashlib

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data import preprocessing  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


@pytest.fixture
def images():
    """Return random images with some correlation between pixels."""
    noise = torch.rand(200, 3, 4, 4, generator=generator(0))
    return (2 * noise + noise.roll(1, 3)) / 3


def zca(images, **facts) -> preprocessing.Transform:
    """Fit whitening."""
    return preprocessing.fit(trajfmt.Preprocessing(kind="zca", **facts), images)


def test_recorded_hash_is_checked(images) -> None:
    """The hash of a fit is accepted by the next one, and refused for other images."""
    record = zca(images).record
    assert record.eps == 0.1
    assert zca(images, eps=0.1, images_sha256=record.images_sha256).record == record
    with pytest.raises(MismatchError, match="hash"):
        zca(images[:150], eps=0.1, images_sha256=record.images_sha256)


def test_hash_is_that_of_the_pixels(images) -> None:
    """The record identifies the images, exactly, as little-endian float32."""
    expected = hashlib.sha256(images.numpy().astype("<f4").tobytes()).hexdigest()
    assert preprocessing.hash_images(images) == expected
    assert preprocessing.hash_images(images + 1e-6) != expected


def test_whitening_tensors_suffice(images) -> None:
    """Mean and matrix, as they are stored in a result, redo the whitening."""
    fitted = zca(images)
    stored = fitted.tensors()
    again = (images.flatten(1) - stored["zca.mean"]) @ stored["zca.matrix"]
    assert torch.allclose(again, fitted.forward(images).flatten(1))


def test_normalisation_per_channel(images) -> None:
    """Every channel gets mean 0 and standard deviation 1, and comes back."""
    fitted = preprocessing.fit(trajfmt.Preprocessing(kind="normalize"), images)
    found = fitted.forward(images).transpose(0, 1).flatten(1)
    assert torch.allclose(found.mean(1), torch.zeros(3), atol=1e-6)
    assert torch.allclose(found.std(1, correction=0), torch.ones(3), atol=1e-5)
    assert torch.allclose(fitted.inverse(fitted.forward(images)), images, atol=1e-6)


def test_normalisation_of_other_channels_is_refused(images) -> None:
    """Recorded values must be one per channel."""
    with pytest.raises(MismatchError, match="1 channels, but the images have 3"):
        preprocessing.fit(trajfmt.Preprocessing(kind="normalize", mean=[0.0], std=[1.0]), images)


def test_unknown_kind_is_refused(images) -> None:
    """Kinds are a closed list."""
    with pytest.raises(ConfigError, match="none, normalize, zca or unit-zca"):
        preprocessing.fit(trajfmt.Preprocessing(kind="blur"), images)


@pytest.mark.parametrize("kind", ["zca", "normalize", "none"])
def test_transforms_work_in_blocks_and_in_place(images, monkeypatch, kind: str) -> None:
    """Blocks, in place or not, give what the whole does."""
    fitted = preprocessing.fit(trajfmt.Preprocessing(kind=kind), images)
    expected, undone = fitted.forward(images), fitted.inverse(images)
    monkeypatch.setattr(preprocessing, "_BLOCK", 33 * images[:1].nbytes)
    assert torch.allclose(fitted.forward(images), expected, atol=1e-6)
    assert torch.allclose(fitted.inverse(images), undone, atol=1e-6)
    own = images.clone()
    assert preprocessing.apply_(fitted, own) is own
    assert torch.allclose(own, expected, atol=1e-6)
