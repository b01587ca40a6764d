"""Bytes from an address, through fsspec, as a stream that is never longer than what was asked for.

Owns the only use of fsspec, which is imported when the first address is used, and what its many backends'
errors mean. How an address is authorised is the backend's business: its own files and variables.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from trajfmt.errors import MissingDependencyError, RemoteError, UsageError, display
from trajfmt.storage.address import Address, without_credentials

__all__ = ["NothingThereError", "TooLongError", "exists", "stream"]

_BLOCK: Final = 4 * 2**20
_WEB: Final = ("http", "https")
_REFUSED: Final = (401, 403, 407)
_ABSENT: Final = 404
_SETTLING: Final = 1.0

CONNECT: Final = 20.0
"""Seconds for a connection to a web server."""

SILENCE: Final = 60.0
"""Seconds in which a web server must send something. A whole file may take as long as it needs."""


class NothingThereError(Exception):
    """There is no file of that name; the caller knows what that means."""


class TooLongError(Exception):
    """A file is longer than was allowed."""


def stream(address: Address, name: str, limit: int) -> Generator[bytes, None, None]:
    """Yield the file `name` of a folder in pieces, `limit` bytes at most.

    From a web server the file is asked for once and whole, so that it needs no support for ranges; leaving
    early ends the connection.

    Raises:
        NothingThereError: there is no such file.
        TooLongError: it has more bytes; at most one more was taken.
        RemoteError: it cannot be reached, or did not arrive.
        MissingDependencyError: fsspec, or the package of a backend, is not installed.
        UsageError: fsspec knows no such address.
    """
    with _translated(address / name):
        system, folder = _system(address)
        web = _is_web(address)
        options: dict[str, Any] = {}
        if web:  # aiohttp closes the connection of an answer that it refuses itself; fsspec leaves it open
            options = {"block_size": 0, "size": max(1, limit), "raise_for_status": True}
        with _ending(system, web=web), system.open(_join(folder, name, web=web), "rb", **options) as file:
            size = getattr(file, "size", None)
            if isinstance(size, int) and size > limit:
                raise TooLongError
            while piece := file.read(min(_BLOCK, limit + 1)):
                limit -= len(piece)
                if limit < 0:
                    raise TooLongError
                yield piece


def exists(address: Address) -> bool:
    """Return whether there is anything at an address, as far as its backend tells."""
    try:
        system, folder = _system(address)
        system.info(folder)
    except Exception:  # whatever a backend says instead of yes
        return False
    return True


def _is_web(address: Address) -> bool:
    return address.text.partition("://")[0].lower() in _WEB


def _join(folder: str, name: str, *, web: bool) -> str:
    """Return the path of a file; a signature in a web address stays at its end."""
    if web:
        parts = urlsplit(folder)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
    return f"{folder.rstrip('/')}/{name}" if folder else name


def _system(address: Address) -> tuple[Any, str]:
    """Return the file system of an address, and the folder's path in it.

    Asked for every time: fsspec keeps file systems by thread, and knows which ones a fork has made useless.
    """
    advice = f"{display(address)}: an address needs fsspec >= 2025.5: pip install 'trajfmt[remote]'"
    try:
        core = importlib.import_module("fsspec.core")
        loops = importlib.import_module("fsspec.asyn")
    except ImportError as exc:
        raise MissingDependencyError(advice) from exc
    if not hasattr(loops, "reset_after_fork"):  # an older one hangs in a forked child
        raise MissingDependencyError(advice)
    try:
        system, folder = core.url_to_fs(address.text, **_options(address))
    except ImportError as exc:
        raise MissingDependencyError(
            f"{display(address)}: needs a package that is not installed: {_first_line(exc)}"
        ) from exc
    except ValueError as exc:
        raise UsageError(f"{display(address)}: not an address that fsspec knows: {_first_line(exc)}") from exc
    return system, folder


def _options(address: Address) -> dict[str, Any]:
    """Return what file systems are made with: for web servers an end to every wait, not to the whole."""
    schemes = {link.partition("://")[0] for link in address.text.split("::")} & set(_WEB)
    if not schemes:
        return {}
    try:
        timeout = importlib.import_module("aiohttp").ClientTimeout(
            total=None, sock_connect=CONNECT, sock_read=SILENCE
        )
    except ImportError as exc:
        raise MissingDependencyError(
            f"{display(address)}: web addresses need aiohttp: pip install 'trajfmt[remote]'"
        ) from exc
    configured = importlib.import_module("fsspec.config").conf
    return {
        scheme: {"client_kwargs": {"timeout": timeout, **configured.get(scheme, {}).get("client_kwargs", {})}}
        for scheme in schemes
    }


@contextmanager
def _ending(system: Any, *, web: bool) -> Iterator[None]:
    """Leave no connection open that the end of the program would find and print.

    fsspec has another thread close connections and does not wait for it, so this does. Once the program is
    interrupted nothing is waited for, and that thread is kept from printing.
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
    """Wait until fsspec's thread has done what it was asked to do; not for long, in case it has ended."""
    import asyncio

    with suppress(TimeoutError, importlib.import_module("fsspec.exceptions").FSTimeoutError):
        importlib.import_module("fsspec.asyn").sync(loop, asyncio.sleep, 0, timeout=_SETTLING)


@contextmanager
def _translated(place: Address) -> Iterator[None]:
    """Turn whatever a backend raises into our errors: one line, without credentials."""
    try:
        yield
    except (MissingDependencyError, UsageError, NothingThereError, TooLongError):
        raise
    except FileNotFoundError as exc:
        raise NothingThereError from exc
    except Exception as exc:  # backends share no base class
        if getattr(exc, "status", None) == _ABSENT:
            raise NothingThereError from exc
        if "invalidurl" in type(exc).__name__.lower():
            raise UsageError(f"{display(place)}: not a valid address") from exc
        raise RemoteError(f"{display(place)}: {_cause(exc)}") from exc


def _cause(exc: Exception) -> str:
    status = getattr(exc, "status", None)
    if isinstance(exc, PermissionError) or status in _REFUSED:
        return "access was refused; credentials are what the address's own backend looks for"
    kind = type(exc).__name__
    if "Redirect" in kind:  # aiohttp's TooManyRedirects, NonHttpUrlRedirectClientError
        return "the server redirects in circles, or away from the web; ask for where the files are"
    if isinstance(status, int):
        return f"the server answered {status} {_first_line(getattr(exc, 'message', ''))}".rstrip()
    if isinstance(exc, (TimeoutError, importlib.import_module("fsspec.exceptions").FSTimeoutError)):
        return "the server stopped answering; try again"
    if isinstance(failed := getattr(exc, "os_error", None), OSError):
        number = failed.errno or 0
        return f"no connection: {os.strerror(number) if number > 0 else failed.strerror or failed}"
    if kind in ("ClientPayloadError", "ServerDisconnectedError", "IncompleteRead", "EOFError"):
        return "the connection ended in the middle; try again"
    return f"cannot be read: {_first_line(exc) or kind}"


def _first_line(text: object) -> str:
    """Return the first line of a stranger's message, fit to be shown."""
    return display(without_credentials((str(text).splitlines() or [""])[0]))
