"""MKDT's labels are representations."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct import sets  # noqa: E402
from mct.errors import MismatchError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import (  # noqa: E402
    IMAGES,
    SOFT,
    USER,
    opened,
)


def test_representations_are_never_taken_for_probabilities(tmp_path: Path) -> None:
    """MKDT's labels are no classes, whatever they look like; its settings say data set and whitening."""
    found, _ = opened(writers.mkdt(tmp_path / "a", IMAGES, SOFT, 0.1, zca=True))
    assert found.found.meaning == "representations"
    assert (found.found.dataset, found.found.model) == ("CIFAR100", "ConvNet")
    assert found.found.preprocessing == trajfmt.Preprocessing(kind="zca")
    with pytest.raises(MismatchError, match="representations of a self-supervised teacher"):
        sets.settle(found, USER, root=None)
