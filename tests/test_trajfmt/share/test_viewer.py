"""The index that the hub's viewer looks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open

import trajfmt
from trajfmt.share.viewer import index


def test_every_name_is_in_the_file_that_the_index_names(make: Callable[..., Path]) -> None:
    """Of the first trajectory, in one file or in shards; the size is that of its knots."""
    for name, options in (("one.mct", {}), ("shards.mct", {"shard_bytes": 500})):
        path = make(name, knots=[2], **options)
        with trajfmt.open(path) as bundle:
            found = json.loads(index(bundle) or b"")
        files = set(found["weight_map"].values())
        assert len(files) == 1 if name == "one.mct" else len(files) > 1
        for file in files:
            with safe_open(path / file, "np") as stored:
                assert set(stored.keys()) == {
                    key for key, value in found["weight_map"].items() if value == file
                }
        assert found["metadata"] == {"total_parameters": 120, "total_size": 3 * 480}


def test_a_bundle_without_knots_in_safetensors_files(make: Callable[..., Path]) -> None:
    """It has no index."""
    with trajfmt.open(make("full.mtt")) as bundle:
        assert index(bundle) is None
