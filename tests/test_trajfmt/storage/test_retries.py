"""Transfers that go on after broken connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.serving import Server, served
from trajfmt import RemoteError
from trajfmt.storage import retries
from trajfmt.storage.address import Address
from trajfmt.storage.causes import BrokenError, ChangedError, NoRangesError
from trajfmt.storage.retries import resumed

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

DATA = np.random.default_rng(0).bytes(3 * 2**20)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less between two tries."""
    monkeypatch.setattr(retries, "PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Return a server with one file."""
    (tmp_path / "file").write_bytes(DATA)
    with served(tmp_path) as running:
        yield running


def test_a_broken_file_goes_on_where_it_broke(server: Server) -> None:
    """Three times in a row; little is sent twice, which is what was on its way."""
    server.breaking = 3
    assert b"".join(resumed(Address(server.url), "file", len(DATA))) == DATA
    assert server.sent["file"] < len(DATA) + 2**20
    assert len(server.asked) == 4


def test_a_broken_part_goes_on_where_it_broke(server: Server) -> None:
    """A part is asked for from its own first byte."""
    server.breaking = 2
    found = b"".join(resumed(Address(server.url), "file", 2**21, start=2**20, part=True))
    assert found == DATA[2**20 : 2**21]


def test_a_server_that_always_breaks_is_given_up(server: Server) -> None:
    """After one try and three further ones that bring little."""
    server.cut["file"] = 1000
    with pytest.raises(RemoteError, match="the connection ended in the middle"):
        b"".join(resumed(Address(server.url), "file", len(DATA)))
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(server: Server, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it answers."""
    server.status["file"] = status
    monkeypatch.setattr(retries.time, "sleep", lambda _: server.status.clear())
    assert b"".join(resumed(Address(server.url), "file", len(DATA))) == DATA
    assert len(server.asked) == 2


def test_a_refusal_is_final(server: Server) -> None:
    """Nothing gets better by asking again."""
    server.status["file"] = 403
    with pytest.raises(RemoteError, match="access was refused"):
        b"".join(resumed(Address(server.url), "file", len(DATA)))
    assert len(server.asked) == 1


def test_without_ranges_a_file_is_sent_again(server: Server) -> None:
    """What has arrived is skipped; a part cannot be had."""
    server.ranges = False
    server.breaking = 1
    assert b"".join(resumed(Address(server.url), "file", len(DATA))) == DATA
    with pytest.raises(NoRangesError):
        b"".join(resumed(Address(server.url), "file", 2000, start=1000, part=True))


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_meanwhile_is_noticed(server: Server, honest: bool) -> None:
    """By its tag, whether or not the server compares it."""
    server.tags["file"] = '"one"'
    server.breaking = 1
    blocks = resumed(Address(server.url), "file", len(DATA))
    first = next(blocks)
    assert DATA.startswith(first)
    server.tags["file"] = '"two"'
    server.ranges = honest
    with pytest.raises(ChangedError):
        b"".join(blocks)


def test_a_file_that_stays_the_same_is_resumed_with_its_tag(server: Server) -> None:
    """The server compares it, and sends the rest."""
    server.tags["file"] = '"one"'
    server.breaking = 1
    assert b"".join(resumed(Address(server.url), "file", len(DATA))) == DATA
    assert server.sent["file"] < len(DATA) + 2**20


def test_a_connection_that_breaks_after_the_last_byte_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything has arrived, and nothing is asked for again."""
    asked: list[int] = []

    def stream(_address: Address, _name: str, count: int, **_: object) -> Iterator[bytes]:
        asked.append(count)
        yield b"x" * count
        raise BrokenError("broken")

    monkeypatch.setattr(retries.transfer, "stream", stream)
    assert b"".join(resumed(Address("http://127.0.0.1:9"), "file", 10, start=3)) == b"x" * 7
    assert asked == [7]
