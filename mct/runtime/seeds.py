"""Random generators from a seed and a purpose; the library never touches the global one."""

import hashlib

import torch


def generator(seed: int, *purpose: int | str) -> torch.Generator:
    """Return a fresh CPU generator that depends on `seed` and `purpose` alone.

    Example:
        >>> a, b = generator(0, "expert", 1), generator(0, "expert", 2)
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        False
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
