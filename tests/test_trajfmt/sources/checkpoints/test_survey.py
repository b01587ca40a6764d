"""What all checkpoints of a source have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import names_of, opened, refused  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402


@pytest.mark.parametrize("missing", [(1, 2, 3), (0,), (0, 2), (1, 3)])
@pytest.mark.parametrize("shared", [True, False])
def test_a_tied_tensor_that_not_all_checkpoints_spell_out(
    tmp_path: Path, missing: tuple[int, ...], shared: bool
) -> None:
    """It is left out wherever it repeats the other one, by memory or by value, and that is said."""
    states: dict[int, Any] = {}
    for t in range(4):
        generator = torch.Generator().manual_seed(t)
        embed, other = torch.randn(3, 2, generator=generator), torch.randn(3, 2, generator=generator)
        head = embed if shared else embed.clone()
        states[t] = {"embed.weight": embed, "other.weight": other, "head.weight": head}
        if t in missing:
            del states[t]["head.weight"]
    folder = foreign.plain(tmp_path / "run", states)
    collection, (trajectory,) = opened(folder)
    assert names_of(collection) == ["embed.weight", "other.weight"]
    assert any("`head.weight` repeats `embed.weight`" in text for text in collection.notices)
    assert trajectory.buffers(0) == {}
    convert(folder, tmp_path / "out.mct")


def test_a_head_of_its_own_is_not_tied(tmp_path: Path) -> None:
    """One checkpoint in which the values differ makes it another network."""
    states: dict[int, Any] = {}
    for t in range(3):
        embed = torch.randn(3, 2, generator=torch.Generator().manual_seed(t))
        states[t] = {"embed.weight": embed, "head.weight": embed + (t == 1)}
    del states[2]["head.weight"]
    folder = foreign.plain(tmp_path / "run", states)
    assert "`head.weight` is missing here, and (3, 2) in" in refused(folder, "mixed_architectures")
