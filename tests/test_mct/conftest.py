"""Small things that several tests of mct need.

Torch is imported inside fixtures: where it is missing each test file skips by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import trajfmt
    from mct.data import Dataset
    from mct.networks import ConvNet


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch to one thread: these tensors are too small for more."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Return the embedded digits, normalised."""
    from mct.data import load

    return load("digits")


@pytest.fixture
def model() -> trajfmt.Model:
    """Return the smallest useful ConvNet for digits."""
    from mct import networks

    return networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10)


@pytest.fixture
def network(model: trajfmt.Model) -> ConvNet:
    """Return a seeded network of `model`."""
    from mct import networks
    from mct.seeds import generator

    return networks.build(model, generator=generator(0))
