"""croissant.json, by its own validator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt import Provenance
from trajfmt.share.croissant import croissant


@pytest.fixture(scope="module")
def mlc() -> Any:
    """Return the library that Croissant's authors check such files with."""
    return pytest.importorskip("mlcroissant", exc_type=ImportError)


@pytest.mark.parametrize("name", ["two.mct", "two.mtt"])
@pytest.mark.filterwarnings("ignore")
def test_it_is_valid_and_lists_every_file(make: Callable[..., Path], mlc: Any, name: str) -> None:
    """No error; each file has the size and the hash of what lies there; the records are the trajectories."""
    path = make(name)
    with trajfmt.open(path) as bundle:
        entries = bundle.manifest.trajectories
        text = croissant(bundle, name=name, url="https://h/x", license="https://spdx.org/licenses/MIT")
    (path / "croissant.json").write_bytes(text)
    found = mlc.Dataset(jsonld=str(path / "croissant.json"))
    assert not found.metadata.ctx.issues.errors
    files = {file.content_url: file for file in found.metadata.file_objects}
    there = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert files.keys() == there - {"croissant.json"}
    for name_there, file in files.items():
        data = (path / name_there).read_bytes()
        assert file.content_size == f"{len(data)} B"
        assert file.sha256 == hashlib.sha256(data).hexdigest()
    records = list(found.records("trajectories"))
    assert [record["trajectories/number"] for record in records] == [0, 1]
    assert [record["trajectories/timesteps"] for record in records] == [6, 6]
    assert [record["trajectories/digest"].decode() for record in map(_encoded, records)] == [
        entry.digest for entry in entries
    ]
    if name.endswith(".mct"):
        assert [list(record["trajectories/knots"]) for record in records] == [[0, 5], [0, 5]]


def _encoded(record: dict[str, Any]) -> dict[str, bytes]:
    """Return the texts of a record as bytes, which some versions of the library return already."""
    return {key: value if isinstance(value, bytes) else str(value).encode() for key, value in record.items()}


def test_what_is_unknown_is_left_out(make: Callable[..., Path]) -> None:
    """No license, page, data set or recipe that nobody stated; an empty bundle has no records."""
    with trajfmt.open(make(provenance=Provenance())) as bundle:
        found = json.loads(croissant(bundle, name="x"))
        assert {"license", "url", "isBasedOn", "measurementTechnique"}.isdisjoint(found)
        assert found["identifier"] == f"sha256:{bundle.sha256}"
    with trajfmt.open(make("all.mct")) as bundle:
        found = json.loads(croissant(bundle, name="x"))
        assert found["isBasedOn"] == {"@type": "sc:Dataset", "name": "CIFAR10"}
        assert found["measurementTechnique"] == "batch_size 256, lr 0.01"
