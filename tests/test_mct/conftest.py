"""Small things that several tests of mct need.

Torch is imported inside fixtures: where it is missing each test file skips by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

    import trajfmt
    from mct.data.datasets import Dataset
    from mct.models.architectures.convnet import ConvNet


CUDA = os.environ.get("MCT_TEST_DEVICE", "cuda")
"""Where tests marked `cuda` compute; `cpu` rehearses them on a machine without a GPU."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked or not CUDA.startswith("cuda"):
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture
def cuda() -> torch.device:
    """Return the device of tests marked `cuda`."""
    import torch

    return torch.device(CUDA)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Have torch choose deterministic algorithms."""
    import torch

    from mct.runtime.determinism import compute_deterministically

    compute_deterministically()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def recorder() -> object:
    """Return what captures on the device of tests marked `cuda`: graphs, or their stand-in on a CPU."""
    from mct.runtime.capture import GraphRecorder
    from tests.helpers.recorded import CallRecorder

    return GraphRecorder() if CUDA.startswith("cuda") else CallRecorder()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch to one thread: these tensors are too small for more."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Return the embedded digits, normalised."""
    from mct.data.datasets import load

    return load("digits")


@pytest.fixture
def saved_result(tmp_path: Path, digits: Dataset) -> Path:
    """Return a file of two synthetic images for each digit."""
    from mct.results import synthetic
    from tests.helpers.made import made

    path = tmp_path / "images.safetensors"
    synthetic.save(path, made(digits, ipc=2), digits)
    return path


@pytest.fixture
def model() -> trajfmt.Model:
    """Return the smallest useful ConvNet for digits."""
    from mct.models import networks

    return networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10)


@pytest.fixture
def network(model: trajfmt.Model) -> ConvNet:
    """Return a seeded network of `model`."""
    from mct.models import networks
    from mct.runtime.seeds import generator

    return networks.build(model, generator=generator(0))
