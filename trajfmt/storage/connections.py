"""The end of fsspec's connections to web servers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

__all__ = ["ending"]

_SETTLING: Final = 1.0


@contextmanager
def ending(system: Any, *, web: bool) -> Iterator[None]:
    """Wait at the end of the block until connections to a web server are closed.

    fsspec closes them in another thread and does not wait for that. aiohttp prints a message for each
    connection that is open when the program ends. After an interruption nothing is waited for, and the
    message is suppressed.
    """
    interrupted = False
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        interrupted = True
        if web:
            system.loop.set_exception_handler(lambda *_: None)
        raise
    finally:
        if web and not interrupted:
            _settle(system.loop)


def _settle(loop: Any) -> None:
    """Wait until fsspec's thread has finished its tasks, but not long: the thread may have ended."""
    import asyncio

    with suppress(TimeoutError, importlib.import_module("fsspec.exceptions").FSTimeoutError):
        importlib.import_module("fsspec.asyn").sync(loop, asyncio.sleep, 0, timeout=_SETTLING)
