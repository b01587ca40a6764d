"""Trajectories that are taken over from their bundles keep their bytes and their values."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.carried import Carrier, state
from tests.helpers.convexified import given
from tests.helpers.folders import contents, hashes
from tests.helpers.serving import served
from tests.helpers.variants import VARIANTS
from trajfmt import ArrayTrajectory, ParamLayout
from trajfmt.bundle.validation import validate
from trajfmt.merge import merge

Walk = Callable[..., Any]
Write = Callable[..., Path]
MORE: list[dict[str, Any]] = [
    {"encoding": "convex", "shard_bytes": 24, "gram": True},
    {"encoding": "convex", "free": True},
    {"encoding": "convex", "buffers": True},
    {"encoding": "full", "buffers": True},
]


def _write(path: Path, layout: ParamLayout, walk: Walk, seeds: range, options: dict[str, Any]) -> Path:
    """Write a bundle with some of the things that a trajectory may have."""
    options = dict(options)
    free, buffers = options.pop("free", False), options.pop("buffers", False)
    with trajfmt.create(path, layout, **options) as writer:
        for seed in seeds:
            theta = walk(layout, seed=seed)
            if free:
                rows = np.stack([theta[0], theta[-1]])
                u = np.random.default_rng(seed).standard_normal((6, 3))
                writer.add(given(layout, walk, knots=(0, 5), rows=rows, u=u, free=True))
            elif buffers:
                writer.add(Carrier(theta, layout, state, numbers=(0, 1, 2, 5, 9, 10)))
            else:
                writer.add(ArrayTrajectory(theta, layout))
    return path


@pytest.mark.parametrize("options", [*VARIANTS, *MORE])
def test_merged_is_what_one_writer_writes(
    options: dict[str, Any], layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """For every codec, with shards, free tables, module buffers and numbers; weights are the same files."""
    suffix = ".mct" if options["encoding"] == "convex" else ".mtt"
    parts = [
        _write(tmp_path / f"{n}{suffix}", layout, walk, seeds, options)
        for n, seeds in enumerate((range(2), range(2, 3)))
    ]
    with trajfmt.open(parts[0]) as a, trajfmt.open(parts[1]) as b:
        first = min((a, b), key=lambda bundle: bundle.manifest.trajectories[0].digest)
        order = range(3) if first is a else (2, 0, 1)
    whole = _write(tmp_path / f"whole{suffix}", layout, walk, order, options)  # type: ignore[arg-type]
    found = merge(parts, tmp_path / f"out{suffix}")
    assert hashes(tmp_path / f"out{suffix}") == hashes(whole)
    assert validate(tmp_path / f"out{suffix}") == []
    assert found.copied == 0
    merged = {os.stat(file).st_ino for file in (tmp_path / f"out{suffix}").rglob("0*") if file.is_file()}
    weights = {file for part in parts for folder in ("knots", "theta") for file in (part / folder).rglob("*")}
    assert {file.stat().st_ino for file in weights if file.suffix != ".json"} <= merged


def test_copies_share_nothing(layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path) -> None:
    """With `copy`, and from the cache of an address, whose files may be removed or replaced."""
    path = write_bundle(layout, walk(layout), name="a.mct")
    linked, copied = (merge([path], tmp_path / f"{copy}.mct", copy=copy) for copy in (False, True))
    size = (path / "knots/00000.safetensors").stat().st_size
    assert (linked.linked, linked.copied, copied.linked, copied.copied) == (size, 0, 0, size)
    assert not os.path.samefile(*(p / "knots/00000.safetensors" for p in (path, tmp_path / "True.mct")))
    with served(tmp_path) as server:
        fetched = merge([f"{server.url}/a.mct"], tmp_path / "far.mct")
    assert (fetched.linked, fetched.copied) == (0, size)
    assert len({str(hashes(tmp_path / name)) for name in ("a.mct", "False.mct", "True.mct", "far.mct")}) == 1


def test_foreign_bytes_survive(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None], tmp_path: Path
) -> None:
    """A file of knots with other metadata stays as it is; digests of pieces that are absent are computed."""
    path = write_bundle(layout, walk(layout), name="a.mct")
    merge([path], tmp_path / "plain.mct")
    file = path / "knots/00000.safetensors"
    data = file.read_bytes()
    changed = data.replace(b'"trajfmt":"{\\"encoding\\"', b'"other__":"{\\"encoding\\"')
    assert changed != data
    file.write_bytes(changed)
    edit_manifest(path)  # leaves the digests of pieces out
    assert validate(path) == []
    merge([path], tmp_path / "out.mct")
    merged = contents(tmp_path / "out.mct")
    assert merged["knots/00000.safetensors"] == changed
    assert validate(tmp_path / "out.mct") == []
    pieces = "pieces/00000.safetensors"
    assert merged[pieces] == contents(tmp_path / "plain.mct")[pieces]
