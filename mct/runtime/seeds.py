"""Random generators derived from a seed and a purpose. The library does not use torch's global generator."""

import hashlib

import torch


def generator(seed: int, *purpose: int | str) -> torch.Generator:
    """Return a new generator on the CPU that depends only on `seed` and `purpose`.

    Args:
        seed: The seed of a run.
        *purpose: Words and numbers that distinguish independent streams of random numbers.

    Example:
        >>> a, b = generator(0, "expert", 1), generator(0, "expert", 2)
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        False
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
