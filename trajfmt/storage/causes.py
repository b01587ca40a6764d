"""The errors of fsspec's backends as errors of this package: one line, without credentials."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trajfmt.errors import MissingDependencyError, RemoteError, UsageError, display
from trajfmt.storage.address import Address, without_credentials
from trajfmt.storage.refusals import refusal, status_of

__all__ = [
    "BrokenError",
    "ChangedError",
    "EndedError",
    "NoRangesError",
    "NothingThereError",
    "TooLongError",
    "TooSlowError",
    "first_line",
    "translated",
]

_REFUSED: Final = (401, 403, 407)
_ABSENT: Final = (404, 410)
_NO_SUCH_RANGE: Final = 416
_PASSING: Final = (408, 429, 502, 503, 504)
"""What a server answers that may answer otherwise soon."""

_ENDED: Final = (
    "ClientPayloadError",
    "ServerDisconnectedError",
    "IncompleteRead",
    "EOFError",
    "RemoteProtocolError",
)
"""Errors of several libraries for a connection that ended too early, by name."""

_SILENT: Final = ("ConnectTimeout", "ReadTimeout", "PoolTimeout")
"""Errors of httpx for a server that sends nothing, by name."""


class NothingThereError(Exception):
    """There is no file of this name. The caller knows whether that is an error."""


class TooLongError(Exception):
    """A file is longer than the caller allows."""


class EndedError(Exception):
    """The file ends before the first byte that was wanted."""


class NoRangesError(Exception):
    """The server sends whole files only."""


class ChangedError(Exception):
    """The file is another one than when its first bytes were fetched."""


class TooSlowError(Exception):
    """Data arrives, but so slowly that the transfer would hardly end."""


class BrokenError(RemoteError):
    """A transfer failed in a way that may pass: it is worth another try.

    Args:
        message: what the user is told.
        sudden: whether it is worth another try also if nothing has arrived yet. A server that does not answer
            at all costs its whole time limit with each try.
    """

    def __init__(self, message: str, *, sudden: bool = True) -> None:
        super().__init__(message)
        self.sudden = sudden


@contextmanager
def translated(place: Address) -> Iterator[None]:
    """Turn the errors of a backend into errors of this package: one line, without credentials."""
    try:
        yield
    except (MissingDependencyError, UsageError, NothingThereError, TooLongError, NoRangesError, ChangedError):
        raise
    except Exception as exc:  # backends share no base class
        if (refused := refusal(exc, place)) is not None:
            raise refused from exc
        if isinstance(exc, FileNotFoundError) or status_of(exc) in _ABSENT:
            raise NothingThereError from exc
        if status_of(exc) == _NO_SUCH_RANGE:
            raise EndedError from exc
        if isinstance(exc, TooSlowError):
            raise RemoteError(f"{display(place)}: {exc}") from exc
        if "invalidurl" in type(exc).__name__.lower():
            raise UsageError(f"{display(place)}: not a valid address") from exc
        message = f"{display(place)}: {_cause(exc)}"
        if _passes(exc):
            raise BrokenError(message, sudden=not (_is_silence(exc) or _is_unreachable(exc))) from exc
        raise RemoteError(message) from exc


def _passes(exc: Exception) -> bool:
    """Return whether another try may end better."""
    if (status := status_of(exc)) is not None:
        return status in _PASSING
    if isinstance(exc, PermissionError) or "Proxy" in type(exc).__name__:
        return False
    lost = type(exc).__name__ in _ENDED or isinstance(exc, ConnectionError)
    return lost or _is_silence(exc) or _is_unreachable(exc) or type(exc).__name__ == "ClientOSError"


def _is_silence(exc: Exception) -> bool:
    slow = (TimeoutError, importlib.import_module("fsspec.exceptions").FSTimeoutError)
    return isinstance(exc, slow) or type(exc).__name__ in _SILENT


def _is_unreachable(exc: Exception) -> bool:
    return isinstance(getattr(exc, "os_error", None), OSError) or type(exc).__name__ == "ConnectError"


def _cause(exc: Exception) -> str:
    status = status_of(exc)
    if isinstance(exc, PermissionError) or status in _REFUSED:
        return (
            "access was refused; give credentials in the way that fsspec's backend for this address expects"
        )
    kind = type(exc).__name__
    if "Proxy" in kind:
        why = getattr(getattr(exc, "os_error", None), "strerror", None) or first_line(exc) or kind
        return f"no connection through the proxy that the environment names (http_proxy, https_proxy): {why}"
    if "Redirect" in kind:  # aiohttp's TooManyRedirects, NonHttpUrlRedirectClientError
        return (
            "the server redirects in circles, or away from the web; use the address of the files themselves"
        )
    if status is not None:
        return f"the server answered {status} {first_line(getattr(exc, 'message', ''))}".rstrip()
    if _is_silence(exc):
        return "the server stopped answering; try again"
    if isinstance(failed := getattr(exc, "os_error", None), OSError):
        number = failed.errno or 0
        return f"no connection: {os.strerror(number) if number > 0 else failed.strerror or failed}"
    if kind == "ConnectError":
        return f"no connection: {first_line(exc) or kind}"
    if kind in _ENDED or isinstance(exc, ConnectionError):
        return "the connection ended in the middle; try again"
    return f"cannot be read: {first_line(exc) or kind}"


def first_line(text: object) -> str:
    """Return the first line of another library's message, printable and without credentials."""
    return display(without_credentials((str(text).splitlines() or [""])[0]))
