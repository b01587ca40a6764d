"""A run of Trackio, by a stand-in of the package."""

from __future__ import annotations

import sys
import types

import pytest

from mct.logs import series
from mct.logs.trackio import TrackioLogger


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Return the list of calls of a package that is imported instead of Trackio."""
    made, seen = types.ModuleType("trackio"), list[tuple[object, ...]]()
    made.init = lambda **more: seen.append(("init", more))
    made.log = lambda values, step: seen.append(("log", step, values))
    made.finish = lambda: seen.append(("finish",))
    made.Image = lambda image: ("image", image.size)
    monkeypatch.setitem(sys.modules, "trackio", made)
    monkeypatch.delenv("TRACKIO_PROJECT", raising=False)
    return seen


def test_a_resumed_run_continues_without_duplicates(opening, step, tmp_path, calls, png) -> None:
    """A run that was killed at step 3 continues from the state of step 1: every step is logged once."""
    logger = TrackioLogger(opening(1))
    for number in (1, 2, 3):
        logger.scalars(number, series.values(step(number)))
    again = TrackioLogger(opening(2))
    for number in (2, 3, 4):
        again.scalars(number, series.values(step(number)))
    again.picture(4, "images", png)
    again.close()
    begun = [call[1] for call in calls if call[0] == "init"]
    assert begun[0] == begun[1]
    assert begun[0]["name"].startswith(f"{tmp_path.name}-")
    assert (begun[0]["project"], begun[0]["resume"]) == ("mct", "allow")
    logged = [call for call in calls if call[0] == "log"]
    assert [call[1] for call in logged] == [1, 2, 3, 4, 4]
    assert logged[0] == ("log", 1, series.values(step(1)))
    assert logged[-1] == ("log", 4, {"images": ("image", (134, 134))})
    assert calls[-1] == ("finish",)


def test_a_damaged_file_begins_another_run(opening, tmp_path, calls) -> None:
    """What is not a number is no last step."""
    (tmp_path / "trackio-run").write_text("name\nx")
    assert TrackioLogger(opening(1))._last == -1
    assert calls[0][1]["name"] == "name"
