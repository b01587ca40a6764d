"""What names and the first checkpoint tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from trajfmt.sources.discovery import open_source  # noqa: E402


def test_even_steps_are_the_unit(tmp_path: Path, trained: Any) -> None:
    """Steps 500, 1000, 1500 are every 500th; others keep their numbers."""
    even = foreign.plain(tmp_path / "even", dict(zip((500, 1000, 1500), trained[0], strict=False)))
    provenance = open_source(even).provenance
    assert (provenance.timestep.kind, provenance.timestep.every, provenance.first_timestep) == (
        "step",
        500,
        1,
    )
    uneven = foreign.plain(tmp_path / "uneven", dict(zip((500, 1000, 1700), trained[0], strict=False)))
    provenance = open_source(uneven).provenance
    assert (provenance.timestep.kind, provenance.timestep.every, provenance.first_timestep) == (
        "step",
        1,
        None,
    )
