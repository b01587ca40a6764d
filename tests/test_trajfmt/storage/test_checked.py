"""Bundles on this machine whose bytes are compared with their hashes when they are read."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt import ParamLayout
from trajfmt.storage import checked

LAYOUT = ParamLayout.of([("w", (5, 1000)), ("b", (7,))])
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"encoding": "full"},
    "zstd": {"encoding": "full", "codec": "zstd"},
    "convex": {"knots": (2,)},
    "sharded": {"shard_bytes": 25_000},
}


def _flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("backend", ["mmap", "pread"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_flipped_bit_is_found_before_it_is_used(
    variant: str, backend: Any, write_bundle: Callable[..., Path], walk: Callable[..., Any]
) -> None:
    """In the last piece: other timesteps can be read, the one with the bit cannot."""
    path = write_bundle(LAYOUT, walk(LAYOUT), **VARIANTS[variant])
    expected = trajfmt.open(path)[0].knot(0).tobytes()
    (*_, file) = sorted(path.glob("theta/*")) + sorted(path.glob("knots/*.safetensors"))
    chunks = getattr(trajfmt.open(path).manifest.trajectories[0], "chunks", None)
    _flip(file, -1 if chunks is None else chunks.offsets[-1])
    with trajfmt.open(path, verify="read", backend=backend) as opened:
        assert opened[0].knot(0).tobytes() == expected
        with pytest.raises(trajfmt.CorruptError, match=r"piece \d+ \(bytes ") as caught:
            opened[0].knot(len(opened[0].knots) - 1)
        assert (caught.value.reason, caught.value.path) == ("hash_mismatch", str(file))


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_digests_and_files_without_pieces_are_compared_too(
    backend: Any, write_bundle: Callable[..., Path], walk: Callable[..., Any]
) -> None:
    """A bit of a digest, and one of a table, which has no pieces."""
    path = write_bundle(LAYOUT, walk(LAYOUT))
    _flip(path / "pieces/00000.safetensors", -1)
    with trajfmt.open(path, verify="read", backend=backend) as opened:
        with pytest.raises(trajfmt.CorruptError, match="digests of the pieces of trajectory 0") as caught:
            opened[0].knot(0)
        assert caught.value.reason == "hash_mismatch"
    _flip(path / "pieces/00000.safetensors", -1)
    _flip(path / "tables/00000.h5", -1)
    with trajfmt.open(path, verify="read", backend=backend) as opened:
        opened[0].knot(0)
        with pytest.raises(trajfmt.CorruptError, match="sha256 must be"):
            opened[0].at(1.5)


def test_a_sound_bundle_reads_as_ever(write_bundle: Callable[..., Path], walk: Callable[..., Any]) -> None:
    """The same bits, also as one array of all timesteps, and each piece is compared once."""
    theta = walk(LAYOUT)
    path = write_bundle(LAYOUT, theta, encoding="full")
    with trajfmt.open(path, verify="read") as opened:
        found = opened[0].theta()
        assert found is not None
        assert np.array_equal(found, theta)
        (path / "pieces/00000.safetensors").unlink()
        assert np.array_equal(opened[0].at(3), theta[3])


def test_a_file_without_pieces_is_hashed_once(
    write_bundle: Callable[..., Path], walk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each process, also after pickling."""
    path = write_bundle(LAYOUT, walk(LAYOUT))
    hashed: list[str] = []
    real = checked.verify_file

    def count(file: Any, *arguments: Any) -> None:
        hashed.append(Path(file.where).name)
        real(file, *arguments)

    monkeypatch.setattr(checked, "verify_file", count)
    with trajfmt.open(path, verify="read", backend="pread") as opened:
        expected = opened[0].at(1.5).tobytes()
        assert opened[0].at(1.5).tobytes() == expected
        assert hashed == ["00000.h5"]
        with pickle.loads(pickle.dumps(opened)) as copied:
            assert copied[0].at(1.5).tobytes() == expected
    assert hashed == ["00000.h5"] * 2
