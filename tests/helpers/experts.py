"""Small training runs of experts on the digits, and stopping them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mct.events import ExpertDone
from mct.experts.run import ExpertRun


def run_of(path: Path, **settings: object) -> ExpertRun:
    """Return a small run on the digits."""
    settings = {"experts": 2, "epochs": 3, "lr": 0.05, "batch_size": 500, "augment": "none"} | settings
    return ExpertRun.prepare("digits", path, model="ConvNetD2W4", **settings)  # type: ignore[arg-type]


def stop_after(run: ExpertRun, count: int) -> None:
    """Run until the given number of experts is done, then stop as Ctrl-C does."""
    events = run.events()
    while count:
        count -= isinstance(next(events), ExpertDone)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
