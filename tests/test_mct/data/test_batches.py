"""Batches of an inner loop: augmented many at a time as one by one, and the gradient that goes back."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from mct.data.augment import DSA, STRATEGY  # noqa: E402
from mct.data.batches import Batches, augmented  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


@pytest.fixture
def given() -> SimpleNamespace:
    """Return images, ragged batches in which an image occurs twice, and draws of two families in turn."""
    random, dsa = generator(0), DSA(STRATEGY)
    images = torch.randn(5, 2, 8, 8, generator=random, dtype=torch.float64)
    batches = [torch.tensor(index) for index in ([0, 1, 2], [3], [2, 2, 4], [1, 0])]
    families = [DSA(family) for family in ("scale", "color")] * 2
    draws = [family.draw(len(batch), 8, random) for family, batch in zip(families, batches, strict=True)]
    pulls = [torch.randn(len(b), 2, 8, 8, generator=random, dtype=torch.float64) for b in batches]
    return SimpleNamespace(images=images, batches=batches, augment=dsa, draws=draws, pulls=pulls)


def batches_of(given: SimpleNamespace, **options) -> Batches:
    """Return the batches."""
    return Batches(given.images, given.batches, given.augment, given.draws, **options)


@pytest.mark.parametrize(
    "options", [{"budget": 1}, {"budget": 2 * 3 * 1024}, {"budget": 1 << 30}, {"whole": True}], ids=str
)
def test_pixels_and_gradient_are_those_of_one_batch_after_another(given: SimpleNamespace, options) -> None:
    """Whatever exists at once: sum of weight times <pull, augmented batch>, differentiated by autograd."""
    leaf = given.images.clone().requires_grad_()
    whole = torch.zeros((), dtype=torch.float64)
    for step, (batch, draws, pull) in enumerate(zip(given.batches, given.draws, given.pulls, strict=True)):
        whole = whole + (step + 1) * (given.augment.apply(leaf[batch], draws) * pull).sum()
    (expected,) = torch.autograd.grad(whole, leaf)
    found = batches_of(given, **options)
    for step, (batch, draws) in enumerate(zip(given.batches, given.draws, strict=True)):
        torch.testing.assert_close(
            found.pixels(step), given.augment.apply(given.images[batch], draws), rtol=0, atol=1e-14
        )
    for step in reversed(range(4)):  # the way back, each batch in two parts
        for first, part in ((0, given.pulls[step][:1]), (1, given.pulls[step][1:])):
            found.add(step, first, part, torch.tensor(step + 1.0, dtype=torch.float64))
    torch.testing.assert_close(found.close(), expected, rtol=0, atol=1e-12)


def test_whole_batches_are_taken_and_given_back_at_once(given: SimpleNamespace) -> None:
    """`all` is the batches in a row, `starts` says where each begins, `put` takes all gradients."""
    found, single = batches_of(given, whole=True), batches_of(given, budget=1)
    assert found.starts == (0, 3, 4, 7, 9)
    rows = found.all()
    for step, (begin, end) in enumerate(zip(found.starts, found.starts[1:], strict=False)):
        assert torch.equal(rows[begin:end], found.pixels(step))
        single.add(step, 0, given.pulls[step], torch.ones((), dtype=torch.float64))
    found.put(torch.cat(given.pulls))
    torch.testing.assert_close(found.close(), single.close(), rtol=0, atol=1e-13)


def test_without_augmentation_gradients_are_sums_over_occurrences(given: SimpleNamespace) -> None:
    """An image that occurs twice gets both; one that is in no batch gets nothing."""
    found = Batches(given.images, given.batches[2:3], None, None)
    assert torch.equal(found.pixels(0), given.images[[2, 2, 4]])
    found.add(0, 0, given.pulls[2], torch.tensor(2.0, dtype=torch.float64))
    expected = torch.zeros_like(given.images)
    expected[2], expected[4] = 2 * (given.pulls[2][0] + given.pulls[2][1]), 2 * given.pulls[2][2]
    assert torch.equal(found.close(), expected)


def test_families_are_put_back_in_order(given: SimpleNamespace) -> None:
    """Batches of one family are augmented together, and stand where they stood."""
    rows = torch.cat([given.images[batch] for batch in given.batches])
    expected = [
        given.augment.apply(given.images[b], d) for b, d in zip(given.batches, given.draws, strict=True)
    ]
    torch.testing.assert_close(
        augmented(given.augment, rows, given.draws), torch.cat(expected), rtol=0, atol=1e-14
    )
