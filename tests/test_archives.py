"""Bundles of every frozen version of the format hold today what they held when they were written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import trajfmt

ARCHIVES = Path(__file__).parent / "archives"
VERSIONS = sorted(path for path in ARCHIVES.iterdir() if (path / "holds.json").is_file())


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the program that says what bundles hold."""
    monkeypatch.syspath_prepend(str(ARCHIVES))
    import read

    yield read
    del sys.modules["read"]


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_bundles_of_a_frozen_version_are_read_for_ever(folder: Path, read: Any) -> None:
    """Every value, and every byte of the bundles, is what was written."""
    expected = json.loads((folder / "holds.json").read_bytes())
    assert read.all_of(folder) == expected
    assert {path.name for path in folder.iterdir()} == {*expected, "holds.json"}


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_bundles_of_a_frozen_version_are_valid(folder: Path) -> None:
    """A validator finds nothing."""
    from trajfmt.bundle.validation import validate

    for path in folder.glob("*.m[tc]t"):
        assert not list(validate(path)), path.name


def test_every_encoding_codec_and_type_is_there() -> None:
    """Nothing that the format can describe is missing."""
    from trajfmt.codecs.table import CODECS
    from trajfmt.encodings.table import ENCODINGS
    from trajfmt.schema.layout import DTYPES

    seen: set[str] = set()
    for folder in VERSIONS:
        for path in folder.glob("*.m[tc]t"):
            manifest = trajfmt.open(path).manifest
            seen |= {manifest.parameters[0].dtype, trajfmt.open(path).encoding}
            seen |= {name for name in CODECS if f'"{name}"' in (path / "manifest.json").read_text()}
    assert seen >= {*ENCODINGS, *CODECS, *DTYPES}
