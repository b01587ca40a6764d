"""Pickles in zip files with other instructions than torch writes."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tests.helpers.replay import outcome, packed  # noqa: E402


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    """Random damage to the pickle inside a zip is refused or harmless, never an error of torch's."""
    data, path, generator = packed(True), tmp_path / "flip.pt", np.random.default_rng(5)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    found: Counter[str] = Counter()
    for _ in range(150):
        damaged = bytearray(parts[name])
        for _ in range(int(generator.integers(1, 4))):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, content in parts.items():
                archive.writestr(member, bytes(damaged) if member == name else content)
        with contextlib.suppress(Warning):  # torch remarks on odd pickles, which pytest turns into an error
            found[outcome(path, buffer.getvalue())] += 1
    assert found.keys() == {"fine", "source_invalid", "pickle_unsafe", "nothing_to_convert"}
    assert found["source_invalid"] > 75
