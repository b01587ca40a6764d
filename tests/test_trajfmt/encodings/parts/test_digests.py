"""The file of the digests of pieces: what any safetensors reader sees, and what a validation refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import trajfmt
from tests.helpers.damage import reasons_of
from tests.helpers.sealing import sealed
from trajfmt import ArrayTrajectory, CorruptError, ParamLayout
from trajfmt.bundle.validation import validate
from trajfmt.encodings.parts.digests import check_header, header
from trajfmt.storage.files import BundleFiles

LAYOUT = ParamLayout.of([("w", (5, 1000)), ("b", (7,))])
DIGESTS = "pieces/00000.safetensors"
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"encoding": "full"},
    "zstd": {"encoding": "full", "codec": "zstd"},
    "convex": {"knots": (2,)},
    "sharded": {"shard_bytes": 25_000},
}


def _listed(path: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Make sizes and hashes of files true again, and keep the digests of pieces."""
    manifest = json.loads((path / "manifest.json").read_bytes())
    change(manifest)
    for entry in manifest["files"]:
        data = (path / entry["path"]).read_bytes()
        entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / "manifest.json").write_bytes(sealed(manifest))


@pytest.mark.parametrize("variant", VARIANTS)
def test_stock_tools_read_the_digests(
    variant: str, write_bundle: Callable[..., Path], walk: Callable[..., Any]
) -> None:
    """One tensor for each trajectory, with the sha256 of each piece of each timestep, in order."""
    thetas = [walk(LAYOUT), walk(LAYOUT, seed=1)]
    path = write_bundle(LAYOUT, *thetas, **VARIANTS[variant])
    tensors = load_file(path / DIGESTS)
    assert sorted(tensors) == ["00000", "00001"]
    with trajfmt.open(path) as opened:
        for number, digests in enumerate(tensors[name] for name in sorted(tensors)):
            entry = opened.manifest.trajectories[number]
            assert entry.pieces is not None
            assert (digests.dtype, digests.shape[1]) == (np.uint8, 32)
            assert hashlib.sha256(digests.tobytes()).hexdigest() == entry.pieces.sha256
            if variant in ("none", "convex"):
                size = entry.pieces.size
                rows = [opened[number].knot(k).tobytes() for k in range(len(opened[number].knots))]
                pieces = [row[at : at + size] for row in rows for at in range(0, len(row), size)]  # type: ignore[arg-type]
                assert digests.tobytes() == b"".join(hashlib.sha256(piece).digest() for piece in pieces)
    assert validate(path) == []


def test_an_append_adds_a_file(write_bundle: Callable[..., Path], walk: Callable[..., Any]) -> None:
    """The earlier one stays as it is; a bundle without digests gets them for new trajectories only."""
    path = write_bundle(LAYOUT, walk(LAYOUT))
    before = (path / DIGESTS).read_bytes()
    with trajfmt.append(path) as writer:
        writer.add(ArrayTrajectory(walk(LAYOUT, seed=1), LAYOUT))
    assert (path / DIGESTS).read_bytes() == before
    assert list(load_file(path / "pieces/00001.safetensors")) == ["00001"]
    assert validate(path) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"00001"', b'"00002"', "header_mismatch"),
        (b'"U8"', b'"I8"', "header_mismatch"),
        (b"[9,32]", b"[32,9]", "header_mismatch"),
        (b'{"__metadata__"', b'["__metadata__"', "header_invalid"),
    ],
)
def test_a_header_must_say_what_the_manifest_says(
    old: bytes, new: bytes, reason: str, write_bundle: Callable[..., Path], walk: Callable[..., Any]
) -> None:
    """A validation refuses it; weights can be read all the same."""
    path = write_bundle(LAYOUT, walk(LAYOUT), walk(LAYOUT, seed=1), knots=(2,))
    data = (path / DIGESTS).read_bytes()
    shape = f"[{len(load_file(path / DIGESTS)['00000'])},32]".encode()
    old = shape if old == b"[9,32]" else old
    new = b"[32," + shape[1:-4] + b"]" if new == b"[32,9]" else new
    assert old in data
    (path / DIGESTS).write_bytes(data.replace(old, new))
    _listed(path)
    assert reasons_of(path) == [reason]
    with trajfmt.open(path) as opened:
        opened[0].at(1)


@pytest.mark.parametrize("kind", ["digest", "hash"])
def test_digests_that_are_not_those_of_the_pieces(
    kind: str, write_bundle: Callable[..., Path], walk: Callable[..., Any]
) -> None:
    """Files are as listed. A validation names the piece, or the digests."""
    path = write_bundle(LAYOUT, walk(LAYOUT), knots=(2,))
    data = bytearray((path / DIGESTS).read_bytes())
    data[-1] ^= 1
    (path / DIGESTS).write_bytes(data)

    def repair(manifest: dict[str, Any]) -> None:
        pieces = manifest["trajectories"][0]["pieces"]
        if kind == "digest":
            pieces["sha256"] = hashlib.sha256(bytes(data[pieces["data"] :])).hexdigest()

    _listed(path, repair)
    (problem,) = validate(path)
    assert problem.reason == "hash_mismatch"
    what = r"piece" if kind == "digest" else "digests of the pieces of trajectory 0"
    assert what in problem.message


def test_a_validation_names_the_damaged_piece(
    write_bundle: Callable[..., Path], walk: Callable[..., Any]
) -> None:
    """One bit of a weight: the file has another hash, and the piece tells where."""
    path = write_bundle(LAYOUT, walk(LAYOUT), encoding="full")
    data = bytearray((path / "theta/00000.h5").read_bytes())
    entry = trajfmt.open(path).manifest.trajectories[0]
    data[entry.data + 2 * LAYOUT.nbytes] ^= 1  # type: ignore[union-attr, operator]
    (path / "theta/00000.h5").write_bytes(data)
    first, *_ = validate(path)
    assert first.reason == "hash_mismatch"
    assert ", in piece " in first.message


def test_a_header_of_digests_needs_no_spaces(tmp_path: Path) -> None:
    """Its last byte is read, too."""
    for count in range(1, 200):
        text = header([(0, count)])[8:].rstrip(b" ")
        data = len(text).to_bytes(8, "little") + text
        (tmp_path / "x").write_bytes(data + bytes(32 * count))
        files = BundleFiles(tmp_path, {"x": len(data) + 32 * count})
        check_header(files, "x", [(0, len(data), count)])
        with pytest.raises(CorruptError, match="describe different digests"):
            check_header(files, "x", [(0, len(data), count + 1)])
        files.close()
        if count > 3:
            break


def test_a_file_of_digests_says_what_it_holds() -> None:
    """In the metadata, as the specification spells it."""
    table = json.loads(header([(3, 5), (4, 1)])[8:])
    assert table == {
        "__metadata__": {"trajfmt": '{"holds":"pieces"}'},
        "00003": {"dtype": "U8", "shape": [5, 32], "data_offsets": [0, 160]},
        "00004": {"dtype": "U8", "shape": [1, 32], "data_offsets": [160, 192]},
    }
