"""Timesteps of a full trajectory come back bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.equations import SHAPES
from trajfmt import ParamLayout
from trajfmt.encodings.full import encoder, writer


@pytest.mark.parametrize("chunk", [2**20, 7])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_full_is_bit_identical(
    codec: str,
    dtype: str,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
    write_bundle: Callable[..., Path],
) -> None:
    """Any finite bits come back, in order and at random, with parameters in one chunk and across several."""
    monkeypatch.setattr(encoder, "CHUNK", chunk)
    monkeypatch.setattr(writer, "MAX_CHUNK", chunk)
    layout = ParamLayout.of(SHAPES, dtype=dtype)  # type: ignore[arg-type]
    width = layout.numpy_dtype.itemsize
    bits = np.random.default_rng(3).integers(0, 256, (19, layout.nbytes), np.uint8)
    theta = bits.view(layout.numpy_dtype)
    theta = np.where(np.isfinite(theta), theta, layout.numpy_dtype.type(-0.0))
    theta[:, :5] = np.array(
        [-0.0, 0.0, 1, np.finfo(theta.dtype).max, np.finfo(theta.dtype).smallest_subnormal]
    )
    path = write_bundle(layout, theta, encoding="full", codec=codec)
    manifest = json.loads((path / "manifest.json").read_bytes())
    with trajfmt.open(path, verify=True) as bundle:
        item: Any = bundle[0]
        order = np.random.default_rng(0).permutation(19)
        assert all(item.at(int(t)).tobytes() == theta[t].tobytes() for t in order)
        assert b"".join(row.tobytes() for row in item.rows()) == theta.tobytes()
    if codec == "none":
        offset = manifest["trajectories"][0]["data"]
        raw = (path / "theta/00000.h5").read_bytes()
        assert raw[offset : offset + 19 * layout.size * width] == theta.tobytes()
        assert offset % 64 == 0
    else:
        assert manifest["codec"]["chunk"] <= chunk
        pieces = -(-layout.size // manifest["codec"]["chunk"])
        assert len(manifest["trajectories"][0]["chunks"]["offsets"]) == 19 * pieces
        assert pieces == (1 if chunk > layout.size else -(-layout.size // 7))


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
@pytest.mark.parametrize("length", [1, 4, 9, 18, 20, 100])
def test_stored_weights_come_once_and_in_order(
    layout: ParamLayout, walk: Callable[..., Any], write_bundle: Callable[..., Path], codec: str, length: int
) -> None:
    """Whatever the size of a block, the rows are the weights, and `blocks` gives the same one by one."""
    theta = walk(layout)
    with trajfmt.open(write_bundle(layout, theta, encoding="full", codec=codec)) as bundle:
        trajectory = bundle[0]
        for blocks in (
            [(t + i, s, row) for t, s, rows in trajectory.stored(length) for i, row in enumerate(rows)],
            list(trajectory.blocks(length)),
        ):
            found = np.full_like(theta, np.nan)
            for t, start, values in blocks:
                assert np.isnan(found[t, start:]).all()
                found[t, start : start + len(values)] = values
                assert codec != "none" or len(values) <= length
            assert found.tobytes() == theta.tobytes()
        if codec == "none":
            most = max(rows.size for _, _, rows in trajectory.stored(length))
            assert most == min(length, theta.size, max(9, length // 9 * 9))


def test_a_row_begins_where_its_elements_lie(
    layout: ParamLayout, walk: Callable[..., Any], write_bundle: Callable[..., Path]
) -> None:
    """What is read later is the same part of the same timestep; chunks have no such place."""
    theta = walk(layout, timesteps=6)
    with trajfmt.open(write_bundle(layout, theta, encoding="full")) as bundle:
        item: Any = bundle[0]
        assert all(np.array_equal(item.row(t, 2, 7)[:], theta[t, 2:7]) for t in range(6))
        assert np.array_equal(item.row(4, 2, 7)[1:3], theta[4, 3:5])
    with trajfmt.open(write_bundle(layout, theta, encoding="full", codec="zstd", name="z.mtt")) as bundle:
        assert bundle[0].row(4, 2, 7) is None  # type: ignore[attr-defined]
