"""A trajectory of the paper's size."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one trajectory of 51 timesteps of the paper's network, of random floats."""
    torch = pytest.importorskip("torch")
    from tests.helpers.conversion import PAPER

    folder = tmp_path_factory.mktemp("paper") / "src"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    content = [[torch.randn(shape, generator=generator) for shape in PAPER] for _ in range(51)]
    assert sum(x.numel() for x in content[0]) == 320_010
    torch.save([content], folder / "replay_buffer_0.pt")
    return folder
