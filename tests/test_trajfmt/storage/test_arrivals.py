"""Whole files from an address, of which an earlier try may have left the beginning."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.serving import Server, served
from trajfmt import CorruptError
from trajfmt.storage import arrivals, retries
from trajfmt.storage.address import Address
from trajfmt.storage.arrivals import receive
from trajfmt.storage.causes import ChangedError

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

DATA = np.random.default_rng(0).bytes(3 * 2**20)
HASH = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a server with one file, which is asked again without a pause."""
    monkeypatch.setattr(retries, "PAUSES", (0.01, 0.01, 0.01))
    (tmp_path / "file").write_bytes(DATA)
    with served(tmp_path) as running:
        yield running


def _received(server: Server, held: bytes = b"") -> bytes:
    path = server.root / "arriving"
    path.write_bytes(held)
    fd = os.open(path, os.O_RDWR)
    try:
        receive(fd, server.root, Address(server.url), "file", len(DATA), HASH)
    finally:
        os.close(fd)
    return path.read_bytes()


@pytest.mark.parametrize("held", [0, 1, 2**20, len(DATA)])
def test_what_is_there_is_not_fetched(server: Server, held: int) -> None:
    """Only the rest is."""
    assert _received(server, DATA[:held]) == DATA
    assert server.sent["file"] == len(DATA) - held


@pytest.mark.parametrize("held", [b"x" * 1000, b"x" * len(DATA), b"x" * (len(DATA) + 5)])
def test_what_is_wrong_is_fetched_anew(server: Server, held: bytes) -> None:
    """A beginning of other bytes costs a second try, not the file."""
    assert _received(server, held) == DATA


def test_a_file_that_is_repaired_meanwhile(server: Server) -> None:
    """The tag tells that it is another one, and it is fetched from its beginning."""
    server.tags["file"] = '"bad"'
    server.body["file"] = bytes(len(DATA))
    server.breaking = 1

    def repair(_seconds: float) -> None:
        server.tags["file"] = '"good"'
        server.body.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries.time, "sleep", repair)
        assert _received(server) == DATA


def test_damage_is_damage_once(server: Server) -> None:
    """Without an earlier try, a wrong file is not fetched again."""
    server.body["file"] = bytes(len(DATA))
    with pytest.raises(CorruptError, match="the file is damaged") as caught:
        _received(server)
    assert caught.value.reason == "hash_mismatch"
    assert server.asked == ["file"]


def test_a_file_that_changes_all_the_time_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few tries, of which nothing is kept."""
    tried: list[int] = []

    def changing(_fd: int, _address: Address, _name: str, _size: int, held: int) -> str:
        tried.append(held)
        raise ChangedError("it changed")

    monkeypatch.setattr(arrivals, "_receive_rest", changing)
    (tmp_path / "x").write_bytes(b"begun")
    fd = os.open(tmp_path / "x", os.O_RDWR)
    with pytest.raises(CorruptError, match="the file is damaged"):
        receive(fd, tmp_path, Address("http://127.0.0.1:9"), "file", 10, HASH)
    os.close(fd)
    assert tried == [5, *[0] * (arrivals._TRIES - 1)]
    assert (tmp_path / "x").read_bytes() == b""


def test_a_file_that_is_shorter_than_the_manifest_says(server: Server) -> None:
    """Its size is named, not its hash."""
    server.body["file"] = DATA[:1000]
    with pytest.raises(CorruptError, match=f"must have {len(DATA)} bytes, got 1000") as caught:
        _received(server)
    assert caught.value.reason == "file_size_mismatch"


def test_a_file_that_is_shorter_than_what_is_here(server: Server) -> None:
    """What is left of it cannot be asked for."""
    server.body["file"] = DATA[:1000]
    with pytest.raises(CorruptError, match=f"must have {len(DATA)} bytes, got 2000") as caught:
        _received(server, DATA[:2000])
    assert caught.value.reason == "file_size_mismatch"
