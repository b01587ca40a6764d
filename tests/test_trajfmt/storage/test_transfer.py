"""Bytes from an address: all of a file, never more than was asked for."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.serving import Server, served
from trajfmt.errors import MissingDependencyError, RemoteError, UsageError
from trajfmt.storage import connections, transfer
from trajfmt.storage.address import Address, located
from trajfmt.storage.causes import NoRangesError, NothingThereError, TooLongError
from trajfmt.storage.connections import ending
from trajfmt.storage.transfer import exists, stream

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def folder() -> Iterator[Address]:
    """Return the address of a folder in memory with a file of 5 MB."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/transfer/file", bytes(range(250)) * 20_000)
    address = located("memory://transfer")
    assert isinstance(address, Address)
    yield address
    memory.rm("/transfer", recursive=True)


@pytest.mark.parametrize("limit", [5_000_000, 10**9])
def test_a_file_comes_whole_in_several_pieces(folder: Address, limit: int) -> None:
    """Up to the limit itself."""
    pieces = list(stream(folder, "file", limit))
    assert len(pieces) > 1
    assert b"".join(pieces) == bytes(range(250)) * 20_000


@pytest.mark.parametrize("limit", [0, 1, 4_999_999])
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
def test_one_byte_more_than_the_limit_is_too_long(
    folder: Address, limit: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is handed out until then stays within the limit, also where a backend does not tell the size."""
    if not known:
        content = fsspec.filesystem("memory").cat("/transfer/file")
        monkeypatch.setattr(
            fsspec.get_filesystem_class("memory"), "open", lambda *_, **__: io.BytesIO(content)
        )
    got: list[bytes] = []
    with pytest.raises(TooLongError):
        got.extend(stream(folder, "file", limit))
    assert sum(map(len, got)) <= limit


@pytest.mark.parametrize(("start", "count"), [(0, 1), (1000, 5_000), (4_999_000, 1000), (4_999_000, 2000)])
def test_a_part_of_a_file(folder: Address, start: int, count: int) -> None:
    """Its own bytes, and fewer where the file ends."""
    content = bytes(range(250)) * 20_000
    found = b"".join(stream(folder, "file", count, start=start, part=True))
    assert found == content[start : start + count]


def test_a_backend_that_cannot_seek(folder: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no parts, and the rest of a file is read from the beginning."""

    class Stream(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("seek")

    content = bytes(range(250)) * 20_000

    def opened(_self: object, _path: str, _mode: str) -> Stream:  # knows no options
        return Stream(content)

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "open", opened)
    assert b"".join(stream(folder, "file", 4_000_000, start=1_000_000)) == content[1_000_000:]
    with pytest.raises(NoRangesError):
        list(stream(folder, "file", 10, start=1000, part=True))


def test_what_is_not_there(folder: Address) -> None:
    """A file of another name is absent, and so is a folder; what is there exists."""
    with pytest.raises(NothingThereError):
        list(stream(folder, "other", 10))
    absent = located("memory://elsewhere")
    assert isinstance(absent, Address)
    assert (exists(folder), exists(absent)) == (True, False)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a folder with a file of 5,000 bytes, in an environment without proxies."""
    pytest.importorskip("aiohttp")
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    fsspec.get_filesystem_class("http").clear_instance_cache()
    (tmp_path / "file").write_bytes(b"x" * 5000)
    with served(tmp_path) as server:
        yield server


def fetched(url: str) -> bytes:
    """Return all of a file in a folder at an address."""
    address = located(url)
    assert isinstance(address, Address)
    return b"".join(stream(address, "file", 5000))


def test_a_host_that_only_the_proxy_reaches(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of the environment is asked, with the whole address."""
    monkeypatch.setenv("http_proxy", web.url)
    web.body["http://bundles.invalid/deep/file"] = b"by proxy"
    assert fetched("http://bundles.invalid/deep") == b"by proxy"
    assert web.asked == ["http://bundles.invalid/deep/file"]


def test_a_host_without_a_proxy(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`no_proxy` names hosts that are reached directly, whatever the proxy is."""
    monkeypatch.setenv("http_proxy", "nonsense")
    monkeypatch.setenv("no_proxy", "127.0.0.1,elsewhere")
    assert fetched(web.url) == b"x" * 5000


PROXIES = ["nonsense", "socks5://me:secret@host:1", "https://host:1", "http://[x", "host:3128"]


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_cannot_be_used(web: Server, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """It is named, not ignored, and its password is not shown."""
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(UsageError, match=r"^\S+: http_proxy is .*expected http://HOST:PORT") as caught:
        fetched(web.url)
    assert "secret" not in str(caught.value)
    assert web.asked == []


def test_a_proxy_that_does_not_answer(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that it is the proxy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(RemoteError, match="no connection through the proxy"):
            fetched(web.url)


class Dripping(io.RawIOBase):
    """A file that gives a byte for each read, while the clock goes on by so many seconds."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self._clock, self._seconds, self._left = clock, seconds, 5000

    def read(self, _size: int = -1) -> bytes:
        self._clock[0] += self._seconds
        self._left -= 1
        return b"x" if self._left >= 0 else b""


@pytest.mark.parametrize(("least", "seconds", "slow"), [
    (None, 1.0, True), ("", 1.0, True), ("2", 1.0, True), ("0", 100.0, False), ("0.5", 1.0, False),
    (None, 0.0009, False),
])  # fmt: skip
def test_a_server_that_sends_a_byte_now_and_then(
    folder: Address, monkeypatch: pytest.MonkeyPatch, least: str | None, seconds: float, slow: bool
) -> None:
    """Below the least rate it is given up after a minute, and the error says how to accept it."""
    clock = [0.0]
    monkeypatch.setattr("trajfmt.storage.transfer.time.monotonic", lambda: clock[0])
    memory = fsspec.get_filesystem_class("memory")
    monkeypatch.setattr(memory, "open", lambda *_, **__: Dripping(clock, seconds))
    monkeypatch.delenv("TRAJFMT_MIN_RATE", raising=False)
    if least is not None:
        monkeypatch.setenv("TRAJFMT_MIN_RATE", least)
    if not slow:
        assert sum(map(len, stream(folder, "file", 5000))) == 5000
        return
    with pytest.raises(RemoteError, match=r"too slow: \d+ bytes in \d+ s; .*TRAJFMT_MIN_RATE"):
        list(stream(folder, "file", 5000))
    assert 60 <= clock[0] <= 61


@pytest.mark.parametrize("text", ["fast", "-1", "nan", "inf"])
def test_a_least_rate_that_is_none(folder: Address, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """It is wrong usage."""
    monkeypatch.setenv("TRAJFMT_MIN_RATE", text)
    with pytest.raises(UsageError, match="TRAJFMT_MIN_RATE is"):
        list(stream(folder, "file", 10))


def test_a_part_from_a_backend_that_fetches_just_that(
    folder: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks, each of which is one request for its bytes."""
    memory = fsspec.get_filesystem_class("memory")
    monkeypatch.setattr(memory, "async_impl", True)
    asked: list[tuple[int, int]] = []
    real = memory.cat_file

    def cat(self: object, path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return real(self, path, start, end)

    monkeypatch.setattr(memory, "cat_file", cat)
    content = bytes(range(250)) * 20_000
    for start, count in ((7, 10), (100, transfer._BLOCK), (3, 2 * transfer._BLOCK + 5)):
        asked.clear()
        pieces = list(stream(folder, "file", count, start=start, part=True))
        assert b"".join(pieces) == content[start : start + count]
        assert asked[0][0] == start
        assert asked[-1][1] == start + count
        assert len(asked) == -(-count // transfer._BLOCK)


@pytest.mark.parametrize(
    ("missing", "words"),
    [("fsspec.core", "an address needs fsspec"), ("aiohttp", "web addresses need aiohttp")],
)
def test_a_missing_package_is_named(missing: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingDependencyError, match=rf"{words}.*pip install 'trajfmt\[remote\]'"):
        list(stream(Address("http://127.0.0.1:9"), "file", 1))


@pytest.mark.parametrize("web", [True, False])
def test_an_interruption_waits_for_no_connection(web: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do the connections that are still open say anything; any other end waits."""
    silenced: list[object] = []
    waited: list[object] = []
    loop = SimpleNamespace(set_exception_handler=silenced.append)
    monkeypatch.setattr(connections, "_settle", waited.append)
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error), ending(SimpleNamespace(loop=loop), web=web):
            raise error
    assert (len(silenced), waited) == (2 * web, [])
    with pytest.raises(ValueError, match="x"), ending(SimpleNamespace(loop=loop), web=web):
        raise ValueError("x")
    assert waited == [loop] * web
