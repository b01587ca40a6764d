"""What the tests of foreign layouts share: converting, what was told, and comparing bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import trajfmt
from trajfmt.bundle.validation import validate
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert


def rows(expert: Any) -> np.ndarray:
    """Return the weights `(T+1, P)` of nested lists."""
    return np.stack([np.concatenate([x.numpy().reshape(-1) for x in step]) for step in expert])


def run(source: Path, target: Path, **options: Any) -> list[Event]:
    """Convert, validate, and return what was told."""
    events: list[Event] = []
    convert(source, target, ConvertOptions(**options), on_event=events.append)
    assert validate(target) == []
    return events


def told(events: Sequence[Event], *kinds: str) -> list[str]:
    """Return the messages of some kinds."""
    return [event.message for event in events if event.kind in kinds]


def same(target: Path, experts: Sequence[Any]) -> None:
    """Require that a full bundle holds these experts bit for bit, in their order."""
    with trajfmt.open(target) as bundle:
        assert len(bundle) == len(experts)
        for trajectory, expert in zip(bundle, experts, strict=True):
            found = np.stack([trajectory.at(t) for t in range(trajectory.timesteps)])
            assert np.array_equal(found.view(np.uint32), rows(expert).view(np.uint32))
