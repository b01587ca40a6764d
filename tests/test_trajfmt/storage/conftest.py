"""Fixtures for tests of storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.serving import Server, served


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Return a server of the test's folder."""
    with served(tmp_path) as running:
        yield running
