"""Transfers that go on after a broken connection, from the byte where it broke."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final, TypeVar

from trajfmt.storage import transfer
from trajfmt.storage.address import Address
from trajfmt.storage.causes import BrokenError

__all__ = ["PAUSES", "again", "resumed"]

PAUSES: Final = (0.1, 0.3, 0.9)
"""Seconds before each further try, on average. After a try that brought much, they begin anew."""

_MUCH: Final = 2**20
"""Bytes after which a try counts as a success. A server that sends a few bytes each time is given up."""

Result = TypeVar("Result")


class _Tries:
    """Counts the tries of one transfer."""

    def __init__(self) -> None:
        self._failed = 0

    def after(self, exc: BrokenError, got: int) -> None:
        """Wait before the next try, or raise the error of the last one.

        Args:
            exc: the error.
            got: bytes that have arrived in this try.
        """
        if got >= _MUCH:
            self._failed = 0
        if self._failed == len(PAUSES) or not (exc.sudden or got):
            raise exc
        time.sleep(PAUSES[self._failed] * random.uniform(0.5, 1.5))  # many processes may have failed at once
        self._failed += 1


def again(work: Callable[[], Result]) -> Result:
    """Return what `work` returns, and call it again after an error that may pass."""
    tries = _Tries()
    while True:
        try:
            return work()
        except BrokenError as exc:
            tries.after(exc, 0)


def resumed(
    address: Address, name: str, stop: int, *, start: int = 0, part: bool = False
) -> Generator[bytes, None, None]:
    """Yield the bytes `start:stop` of a file in blocks. For the errors see `transfer.stream`.

    After a broken connection the rest is requested, if the file is the same as before.

    Args:
        address: a folder.
        name: path of the file in that folder.
        stop: the byte after the last.
        start: the first byte.
        part: whether the file may be longer than `stop`.
    """
    tries, copy = _Tries(), transfer.Copy()
    while True:
        got = 0
        try:
            with closing(
                transfer.stream(address, name, stop - start, start=start, part=part, copy=copy)
            ) as blocks:
                for block in blocks:
                    got += len(block)
                    start += len(block)
                    yield block
            return
        except BrokenError as exc:
            tries.after(exc, got)
            if got and start == stop:
                return
