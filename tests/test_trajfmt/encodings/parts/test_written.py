"""Numbers of timesteps, and what may be carried beside weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.carried import Carrier, state, write
from trajfmt import CorruptError, ParamLayout, SourceError, UsageError
from trajfmt.bundle.report import summarize
from trajfmt.convert.selection import Window
from trajfmt.schema.provenance import Provenance, TimestepUnit

Walk = Callable[..., Any]


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (lambda t: {"a": np.zeros(1 + t)}, SourceError, "module buffers of timestep 5 differ"),
        (lambda t: {f"a{t}": np.zeros(1)}, SourceError, "module buffers of timestep 5 differ"),
        (lambda t: {"a": np.zeros(1, f"<i{8 if t else 4}")}, SourceError, "timestep 5 differ"),
        (lambda _: {"a": np.array(["text"])}, CorruptError, "cannot be stored"),
        (lambda _: {"": np.zeros(1)}, CorruptError, "cannot be stored"),
        (lambda _: {"a": np.zeros([1] * 9)}, CorruptError, "9 dimensions"),
    ],
)
def test_what_cannot_be_carried_is_refused(
    tmp_path: Path, layout: ParamLayout, walk: Walk, given: Any, error: Any, match: str
) -> None:
    """One line, and nothing is left behind."""
    with pytest.raises(error, match=match):
        write(tmp_path / "a.mct", layout, Carrier(walk(layout), layout, given))
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_kept(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """As they are given, and shown by a summary; a wrong count is refused."""
    numbers = (0, 10, 25, 26, 400, 2**40)
    path = write(tmp_path / "a", layout, Carrier(walk(layout), layout, state, numbers))
    with trajfmt.open(path) as bundle:
        assert bundle[0].numbers == numbers
    found = summarize(path)
    assert (found.numbers, found.buffers, found.unknown_steps, found.shards) == ((0, 2**40), 1, 0, 1)
    with pytest.raises(UsageError, match="one number for each of 6 timesteps, got 2"):
        write(tmp_path / "b", layout, Carrier(walk(layout), layout, state, (0, 1)))


class Foreign(Carrier):
    """The least of a foreign trajectory that a window needs."""


@pytest.mark.parametrize(
    ("numbers", "every", "bounds", "left"),
    [
        (None, 1, (None, None), None),
        ((0, 1, 2, 3, 4, 5), 1, (None, None), None),
        ((0, 1, 2, 3, 4, 5), 1, (2, None), None),
        ((0, 10, 20, 30, 40, 50), 10, (1, 4), None),
        ((0, 10, 20, 30, 40, 50), 1, (1, 4), (10, 20, 30)),
        ((1, 2, 3, 4, 5, 6), 1, (None, None), (1, 2, 3, 4, 5, 6)),
        ((0, 1, 2, 3, 4, 9), 1, (3, None), (3, 4, 9)),
    ],
)
def test_numbers_that_the_provenance_tells_are_not_repeated(
    layout: ParamLayout, walk: Walk, numbers: Any, every: int, bounds: Any, left: Any
) -> None:
    """(first + t) * every says it already; a window keeps its part of the others, and shifts buffers."""
    provenance = Provenance(timestep=TimestepUnit(kind="step", every=every))
    source: Any = Foreign(walk(layout), layout, lambda t: {"t": np.array(t)}, numbers)
    window = Window(source, bounds, provenance)
    assert window.numbers == left
    assert window.buffers(0)["t"] == (bounds[0] or 0)
