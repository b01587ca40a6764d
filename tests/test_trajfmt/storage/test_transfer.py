"""Bytes from an address: all of a file, never more than was asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from trajfmt.storage.address import Address, located
from trajfmt.storage.transfer import NothingThereError, TooLongError, exists, stream

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


def test_what_is_not_there(folder: Address) -> None:
    """A file of another name is absent, and so is a folder; what is there exists."""
    with pytest.raises(NothingThereError):
        list(stream(folder, "other", 10))
    absent = located("memory://elsewhere")
    assert isinstance(absent, Address)
    assert (exists(folder), exists(absent)) == (True, False)
