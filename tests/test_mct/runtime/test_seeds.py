"""Generators from a seed and a purpose."""

import hashlib

import pytest

torch = pytest.importorskip("torch")

from mct.runtime.seeds import generator  # noqa: E402


def test_seed_is_the_hash_of_seed_and_purpose() -> None:
    """The first eight bytes, little-endian, without the lowest bit: results of old runs depend on it."""
    digest = hashlib.sha256(b"(3, 'expert', 7)").digest()
    assert generator(3, "expert", 7).initial_seed() == int.from_bytes(digest[:8], "little") // 2
    assert generator(3).initial_seed() == int.from_bytes(hashlib.sha256(b"(3,)").digest()[:8], "little") // 2


def test_purposes_are_apart_and_the_global_generator_is_left_alone() -> None:
    """No two of them agree; the same ones do."""
    before = torch.get_rng_state()
    purposes = [(0,), (1,), (0, 1), (0, "1"), (0, "expert", 1), (0, "expert", 2)]
    seeds = [generator(*purpose).initial_seed() for purpose in purposes]
    assert len(set(seeds)) == len(purposes)
    assert torch.equal(torch.rand(4, generator=generator(0, 1)), torch.rand(4, generator=generator(0, 1)))
    assert torch.equal(torch.get_rng_state(), before)
