"""Small tensors reach another device in one piece for each dtype, and come apart as they were."""

import pytest

torch = pytest.importorskip("torch")

from mct.data.augment import DSA  # noqa: E402
from mct.data.moving import moved, moved_batches  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def test_order_lengths_and_dtypes_stay() -> None:
    """On a device without values, where no copy of single tensors would be noticed."""
    vectors = [torch.arange(3), torch.rand(2), torch.arange(4), torch.rand(5)]
    found = moved(vectors, torch.device("meta"))
    assert [(len(a), a.dtype, a.device.type) for a in found] == [(len(b), b.dtype, "meta") for b in vectors]


def test_batches_and_their_numbers_stay_together() -> None:
    """Families keep their numbers, and without augmentation there are none."""
    random, dsa = generator(0), DSA()
    batches = [torch.arange(count) for count in (3, 1, 4, 4, 2, 5)]
    draws = [dsa.draw(len(batch), 8, random) for batch in batches]
    there, numbers = moved_batches(batches, draws, torch.device("cpu"))
    assert all(torch.equal(one, two) for one, two in zip(there, batches, strict=True))
    assert numbers is not None
    for one, two in zip(numbers, draws, strict=True):
        assert one.family == two.family
        assert all(torch.equal(a, b) for a, b in zip(one.values, two.values, strict=True))
    there, numbers = moved_batches(batches, draws, torch.device("meta"))
    assert numbers is not None
    assert [(each.family, len(each.values), each.values[0].device.type) for each in numbers] == [
        (each.family, len(each.values), "meta") for each in draws
    ]
    assert moved_batches(batches, None, torch.device("meta"))[1] is None
