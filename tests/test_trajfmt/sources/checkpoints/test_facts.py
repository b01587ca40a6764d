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


@pytest.mark.parametrize(("called", "unit"), [("step_", "steps"), ("", "unknown")])
def test_runs_of_different_units_are_named(tmp_path: Path, trained: Any, called: str, unit: str) -> None:
    """Epochs beside steps, or beside numbers alone: no unit is recorded, and a remark says so."""
    for place, name in (("a", "epoch_"), ("b", called)):
        (tmp_path / place).mkdir()
        for number in (0, 10):
            torch.save(trained[0][number // 10], tmp_path / place / f"{name}{number}.pt")
    found = open_source(tmp_path)
    assert found.provenance.timestep is None
    wanted = f"none of which is recorded: epochs (epoch_0.pt), {unit} ({called}0.pt)"
    assert any(text.endswith(wanted) for text in found.notices)
    assert not any("different units" in text for text in open_source(tmp_path / "a").notices)


@pytest.mark.parametrize("names", [("features.0", "features.1", "classifier"), ("conv1", "bn1", "fc")])
@pytest.mark.parametrize("statistics", [False, True])
def test_a_network_of_other_names_is_not_mtts(tmp_path: Path, names: Any, statistics: bool) -> None:
    """Shapes are not enough where names are known, and running statistics are those of a batch norm."""
    shapes = {f"{names[0]}.weight": (4, 1, 3, 3), f"{names[0]}.bias": (4,), f"{names[1]}.weight": (4,)}
    shapes |= {f"{names[1]}.bias": (4,), f"{names[2]}.weight": (5, 4 * 14 * 14), f"{names[2]}.bias": (5,)}
    shapes |= {f"{names[1]}.running_mean": (4,), f"{names[1]}.running_var": (4,)} if statistics else {}
    states = {t: {name: torch.full(shape, 0.1 + t) for name, shape in shapes.items()} for t in range(2)}
    found = open_source(foreign.plain(tmp_path / "run", states))
    remarks = [text for text in found.notices if "the shapes are those of MTT's ConvNetD1W4" in text]
    if names[0] == "conv1":
        assert found.provenance.model is None
        assert len(remarks) == 1
    else:
        assert found.provenance.model.norm == ("batch" if statistics else None)
        assert remarks == []
