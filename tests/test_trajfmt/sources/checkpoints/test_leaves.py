"""The values in nested dictionaries."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from trajfmt.sources.checkpoints.leaves import Leaf, holds_tensors, leaves_of  # noqa: E402


def test_every_value_has_the_keys_on_the_way_to_it() -> None:
    """A dictionary with other keys than texts is a value itself."""
    content = {"model": {"fc": {"w": torch.ones(2, 3)}}, "epoch": 3, "state": {0: torch.ones(1)}}
    leaves = list(leaves_of(content, Path("x.pt")))
    assert [leaf.keys for leaf in leaves] == [("model", "fc", "w"), ("epoch",), ("state",)]
    assert [leaf.place for leaf in leaves] == ["model.fc", "epoch", "state"]
    assert [leaf.elements for leaf in leaves] == [6, 0, 0]
    assert leaves[0].below(("model",)) == "fc.w"
    assert leaves[0].below(("net",)) is None


def test_tensors_are_found_in_lists() -> None:
    """As deep as containers go."""
    assert holds_tensors([{"a": (1, torch.ones(1))}])
    assert not holds_tensors([{"a": (1, "b")}])
    assert Leaf(("steps",), torch.tensor(3.0)).elements == 0
