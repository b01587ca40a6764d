"""DSA against closed forms, one family at a time; the reference itself is in `benchmarks/parity`."""

import math

import pytest

torch = pytest.importorskip("torch")

from mct.data import augment  # noqa: E402
from mct.data.augment import DSA, STRATEGY, Draws, augmentation  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

FAMILIES = STRATEGY.split("_")


def pictures(count: int = 4, channels: int = 3, size: int = 8, dtype=torch.float64):
    """Return seeded images that leave [0, 1]."""
    return torch.randn(count, channels, size, size, generator=generator(0)).to(dtype)


def given(family: str, *values) -> Draws:
    """Return draws with the numbers `values`."""
    return Draws(family=family, values=tuple(torch.tensor(value) for value in values))


def apply(images, family: str, *values):
    """Augment `images` with the numbers `values`."""
    return DSA().apply(images, given(family, *values))


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_color_is_brightness_then_saturation_then_contrast(channels) -> None:
    """Image by image, by the three formulas in their order."""
    images = pictures(channels=channels)
    draws = [0.9, 0.5, 0.1, 0.0], [0.1, 0.5, 0.9, 0.25], [0.7, 0.5, 0.0, 0.3]
    found = apply(images, "color", *draws)
    for i, (brightness, saturation, contrast) in enumerate(
        zip(*torch.tensor(draws).double().tolist(), strict=True)
    ):
        x = images[i] + (brightness - 0.5)
        grey = x.mean(0)
        x = 2 * saturation * (x - grey) + grey
        x = (contrast + 0.5) * (x - x.mean()) + x.mean()
        assert torch.allclose(found[i], x, rtol=0, atol=1e-13)
    assert torch.allclose(found[1], images[1])  # 0.5 everywhere changes nothing


def test_saturation_of_one_channel_changes_nothing() -> None:
    """The mean over one channel is that channel."""
    images = pictures(1, channels=1)
    assert torch.equal(apply(images, "color", [0.5], [0.0], [0.5]), images)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (-1, 0), (0, 1), (1, -1), (-1, -1)])
def test_crop_shifts_and_fills_with_zeros(down, right) -> None:
    """Pixel (r, c) is what was at (r + down, c + right), or zero where that is outside."""
    images = pictures(1, size=8)
    found = apply(images, "crop", [down], [right])
    for r in range(8):
        for c in range(8):
            inside = 0 <= r + down < 8 and 0 <= c + right < 8
            expected = images[0, :, r + down, c + right] if inside else torch.zeros(3).double()
            assert torch.equal(found[0, :, r, c], expected)


def test_crop_does_not_spread_what_it_drops() -> None:
    """A NaN that is shifted out of the image does not come back on the other side."""
    images = pictures(1)
    images[0, :, 0] = math.nan
    found = apply(images, "crop", [1], [0])
    assert torch.equal(found[0, :, :-1], images[0, :, 1:])
    assert not found[0, :, -1].any()


@pytest.mark.parametrize(
    ("size", "centre", "rows", "columns"),
    [
        (8, (0, 4), (0, 2), (2, 6)),
        (8, (4, 8), (2, 6), (6, 8)),
        (8, (8, 0), (6, 8), (0, 2)),
        (6, (0, 3), (0, 2), (2, 5)),
        (6, (5, 0), (4, 6), (0, 2)),
    ],
)
def test_cutout_removes_half_a_side_about_its_centre(size, centre, rows, columns) -> None:
    """Even squares begin side/2 before the centre, odd ones are symmetric; both end at the edge."""
    images = pictures(1, size=size)
    expected = images.clone()
    expected[:, :, slice(*rows), slice(*columns)] = 0
    assert torch.equal(apply(images, "cutout", [centre[0]], [centre[1]]), expected)


def test_flip_below_one_half() -> None:
    """Columns are mirrored where the draw is below 0.5, and only there."""
    images = pictures(3)
    found = apply(images, "flip", [0.49, 0.5, 0.0])
    assert torch.equal(found, torch.stack([images[0].flip(2), images[1], images[2].flip(2)]))


def test_scale_of_a_ramp_is_a_ramp() -> None:
    """x and y are scaled about the middle by u(1.2 - 1/1.2) + 1/1.2: a linear image shows it exactly."""
    ramp = torch.linspace(-1, 1, 9, dtype=torch.float64)
    across, along = torch.meshgrid(ramp, ramp, indexing="ij")
    images = torch.stack([along, across])[None].expand(2, -1, -1, -1)
    low, middle = 1 / 1.2, (1 - 1 / 1.2) / (1.2 - 1 / 1.2)  # the draws 0 and `middle` mean 1/1.2 and 1
    found = apply(images, "scale", [0.0, middle], [middle, 0.0])
    expected = torch.stack([torch.stack([along * low, across]), torch.stack([along, across * low])])
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)  # the draws are float32


def test_scale_shrinks_with_zeros_around() -> None:
    """The largest draw reads beyond the edge, where there is nothing."""
    found = apply(torch.ones(1, 1, 13, 13).double(), "scale", [1.0], [1.0])
    assert found[0, 0, 6, 6] == 1
    assert float(found[0, 0, :, 0].abs().max()) == pytest.approx(0, abs=1e-5)


def test_rotation_of_a_ramp() -> None:
    """(x, y) is read at the rotated position; a linear image shows it away from the corners."""
    ramp = torch.linspace(-1, 1, 17, dtype=torch.float64)
    y, x = torch.meshgrid(ramp, ramp, indexing="ij")
    for draw, degrees in ((0.0, -15), (0.75, 7.5), (0.5, 0)):
        found = apply(torch.stack([x, y])[None], "rotate", [draw])[0]
        angle = math.radians(degrees)
        at_x, at_y = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
        disc = x.square() + y.square() < 0.95
        assert torch.allclose(found[0][disc], at_x[disc], rtol=0, atol=1e-12)
        assert torch.allclose(found[1][disc], at_y[disc], rtol=0, atol=1e-12)


# --- properties of every family -------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_once_and_twice(family, channels) -> None:
    """First and second derivatives in the images against finite differences."""
    images = pictures(2, channels, 4).requires_grad_()
    dsa = DSA(family)
    draws = dsa.draw(2, 4, generator(2))
    assert torch.autograd.gradcheck(lambda x: dsa.apply(x, draws), images)
    assert torch.autograd.gradgradcheck(lambda x: dsa.apply(x, draws).square(), images)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_do_not_see_each_other(family) -> None:
    """An image and its draws give the same result alone as among others, and the draws differ."""
    images, dsa = pictures(1, size=16).repeat(8, 1, 1, 1), DSA(family)
    draws = dsa.draw(8, 16, generator(1))
    found = dsa.apply(images, draws)
    for i in range(8):
        own = Draws(family=family, values=tuple(value[i : i + 1] for value in draws.values))
        assert torch.allclose(dsa.apply(images[i : i + 1], own)[0], found[i], rtol=0, atol=1e-13)
    assert len({image.numpy().tobytes() for image in found}) > 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(family, dtype) -> None:
    """The result is like the images, is deterministic, and the images are left alone."""
    images = pictures(dtype=dtype)
    before, dsa = images.clone(), DSA(family)
    draws = dsa.draw(4, 8, generator(1))
    found = dsa.apply(images, draws)
    assert found.dtype == dtype
    assert found.shape == images.shape
    assert torch.equal(found, dsa.apply(images, draws))
    assert torch.equal(images, before)
    reference = dsa.apply(images.double(), draws)
    assert torch.allclose(found.double(), reference, rtol=0, atol=1e-5 if dtype == torch.float32 else 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_device_is_kept(family) -> None:
    """Draws move to the device of the images and the result stays there; `meta` stands for one."""
    dsa = DSA(family)
    found = dsa(torch.empty(4, 3, 8, 8, device="meta"), generator(0))
    assert found.device.type == "meta"
    assert dsa.draw(4, 8, generator(0)).values[0].device.type == "cpu"


# --- draws ----------------------------------------------------------------------------------------


def test_generator_decides_everything() -> None:
    """The same generator gives the same augmentation, another one another, the global one none."""
    images, dsa = pictures(), DSA()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = [dsa(images, generator(5)) for _ in range(2)]
    assert torch.equal(*first)
    assert not torch.equal(first[0], dsa(images, generator(6)))
    assert torch.equal(torch.get_rng_state(), state)


def test_call_is_draw_then_apply() -> None:
    """Calling consumes the generator as `draw` does, so that an inner loop can be repeated."""
    images, dsa, one, two = pictures(), DSA(), generator(3), generator(3)
    for _ in range(12):
        assert torch.equal(dsa(images, one), dsa.apply(images, dsa.draw(4, 8, two)))


def test_every_family_is_as_likely() -> None:
    """Six families in 3000 calls: each within five standard deviations of 500; one named twice, twice."""
    source, dsa = generator(0), DSA()
    found = [dsa.draw(1, 8, source).family for _ in range(3000)]
    assert {family: abs(found.count(family) - 500) < 102 for family in FAMILIES} == dict.fromkeys(
        FAMILIES, True
    )
    found = [DSA("flip_crop_flip").draw(1, 8, source).family for _ in range(3000)]
    assert abs(found.count("flip") - 2000) < 129
    assert set(found) == {"flip", "crop"}


@pytest.mark.parametrize(
    ("family", "size", "low", "high"),
    [
        ("crop", 32, -4, 4),
        ("crop", 28, -4, 4),
        ("crop", 8, -1, 1),
        ("cutout", 32, 0, 32),
        ("cutout", 6, 0, 5),
    ],
)
def test_integers_fill_their_range(family, size, low, high) -> None:
    """Shifts within an eighth of the side; centres over the image, and its far edge for even squares."""
    draws = DSA(family).draw(2000, size, generator(0))
    for value in draws.values:
        assert value.dtype == torch.int64
        assert sorted(set(value.tolist())) == list(range(low, high + 1))
    assert not torch.equal(*draws.values)


@pytest.mark.parametrize(("family", "amount"), [("color", 3), ("flip", 1), ("scale", 2), ("rotate", 1)])
def test_uniform_numbers(family, amount) -> None:
    """float32 in [0, 1), as many as the family needs, none like another."""
    values = DSA(family).draw(2000, 8, generator(0)).values
    assert len(values) == amount
    assert len({value.numpy().tobytes() for value in values}) == amount
    for value in values:
        assert value.dtype == torch.float32
        assert 0 <= float(value.min()) < 0.01
        assert 0.99 < float(value.max()) < 1
        assert abs(float(value.mean()) - 0.5) < 0.04


# --- names and mistakes ---------------------------------------------------------------------------


def test_names() -> None:
    """`none`, `dsa` and strategies."""
    assert augmentation("none") is None
    assert augmentation("dsa") == DSA(STRATEGY)
    assert augmentation("flip") == DSA("flip")


@pytest.mark.parametrize("name", ["", "DSA", "flip_", "flip crop", "noise", "color_none"])
def test_unknown_names_are_refused(name) -> None:
    """With the names that would do."""
    with pytest.raises(ConfigError, match="`augment` must be none, dsa, or families of color_crop_"):
        augmentation(name)


def test_draws_for_other_images_are_refused() -> None:
    """One draw would otherwise be broadcast over all images."""
    with pytest.raises(MismatchError, match="draws of `flip` are for 1 images, got 4 images"):
        apply(pictures(), "flip", [0.1])
    with pytest.raises(ConfigError, match="`family` of draws must be one of color_crop_"):
        apply(pictures(), "noise", [0.0] * 4)


@pytest.mark.parametrize("family", ["scale", "rotate"])
def test_deterministic_resampling_is_grid_sample(family: str, monkeypatch) -> None:
    """Values and gradients agree to rounding in float64, at odd sizes and where corners lie outside."""
    random, dsa = generator(5), DSA()
    for size in (7, 8, 32):
        images = pictures(6, size=size).requires_grad_()
        draws = Draws(family=family, values=tuple(torch.rand(6, generator=random) for _ in range(2)))
        if family == "rotate":
            draws = Draws(family=family, values=draws.values[:1])
        pull = torch.randn(6, 3, size, size, generator=random).double()
        expected = dsa.apply(images, draws)
        (slope,) = torch.autograd.grad(expected, images, pull)
        with monkeypatch.context() as patch:
            patch.setattr(augment, "grid_sample", lambda images, grid, **_: augment._sampled(images, grid))
            found = dsa.apply(images, draws)
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)
        assert torch.allclose(torch.autograd.grad(found, images, pull)[0], slope, rtol=0, atol=1e-12)
