"""A plugin of pytest that picks tests, orders them and notes how long they take.

`SELECTED_TESTS` names a file of JSON with the tests to run, in their order; `TEST_SECONDS` one that receives
the seconds of each test.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

seconds: dict[str, float] = defaultdict(float)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Leave the selected tests, in their order."""
    if (selected := os.environ.get("SELECTED_TESTS")) is not None:
        rank = {name: i for i, name in enumerate(json.loads(Path(selected).read_text()))}
        items[:] = sorted((item for item in items if item.nodeid in rank), key=lambda item: rank[item.nodeid])


def pytest_runtest_logreport(report: Any) -> None:
    """Add up the phases of each test."""
    seconds[report.nodeid] += report.duration


def pytest_sessionfinish(session: Any) -> None:
    """Write down what each test took."""
    target = os.environ.get("TEST_SECONDS")
    if target is not None and not hasattr(session.config, "workerinput"):
        Path(target).write_text(json.dumps(seconds))
