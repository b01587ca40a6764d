"""Bytes from an address, as a stream of limited length, with fsspec.

This is the only module that uses fsspec. It imports it when the first address is used, and translates the
errors of its many backends. Credentials are found by each backend itself, in its own files and environment
variables. Web servers are reached through the proxies of `http_proxy`, `https_proxy` and `no_proxy`.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib import request
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
"""Seconds after which connecting to a web server is given up."""

SILENCE: Final = 60.0
"""Seconds without any data after which a web server is given up, and over which the rate is measured."""

RATE_VARIABLE: Final = "TRAJFMT_MIN_RATE"
"""Environment variable with the slowest rate that is accepted, in bytes per second; 0 accepts any."""

RATE: Final = 1000.0
"""The slowest rate that is accepted unless the variable states another one, in bytes per second."""


class NothingThereError(Exception):
    """There is no file of this name. The caller knows whether that is an error."""


class TooLongError(Exception):
    """A file is longer than the caller allows."""


def stream(address: Address, name: str, limit: int) -> Generator[bytes, None, None]:
    """Yield the contents of a file in blocks, at most `limit` bytes.

    From a web server the file is requested once and whole, so that the server need not support ranges.
    Closing the generator ends the connection.

    Args:
        address: a folder.
        name: path of the file in that folder.
        limit: bytes that the caller accepts.

    Raises:
        NothingThereError: there is no such file.
        TooLongError: the file has more bytes. At most one more was fetched.
        RemoteError: the address cannot be reached, the connection failed, or it is too slow.
        MissingDependencyError: fsspec, or the package that it needs for this kind of address, is missing.
        UsageError: fsspec does not know this kind of address, or it is not valid, or the least rate is not.
    """
    with _translated(address / name):
        watch = _Watch()
        system, folder = _system(address)
        web = _is_web(address)
        options: dict[str, Any] = {}
        if web:  # aiohttp closes the connection of an answer that it refuses itself; fsspec leaves it open
            options = {"block_size": 0, "size": max(1, limit), "raise_for_status": True}
        with _ending(system, web=web), system.open(_join(folder, name, web=web), "rb", **options) as file:
            size = getattr(file, "size", None)
            if isinstance(size, int) and size > limit:
                raise TooLongError
            while piece := watch.timed(file.read, min(_BLOCK, limit + 1)):
                limit -= len(piece)
                if limit < 0:
                    raise TooLongError
                yield piece


def exists(address: Address) -> bool:
    """Return whether there is anything at an address. An error of the backend counts as no."""
    try:
        system, folder = _system(address)
        system.info(folder)
    except Exception:  # backends share no base class for their errors
        return False
    return True


class _TooSlowError(Exception):
    """Data arrives, but so slowly that the transfer would hardly end."""


class _Watch:
    """Measures the rate of a transfer, and ends one that is too slow. Time between reads does not count."""

    def __init__(self) -> None:
        text = os.environ.get(RATE_VARIABLE, "").strip()
        try:
            self._least = float(text) if text else RATE
        except ValueError:
            self._least = -1.0
        if not 0 <= self._least < float("inf"):
            raise UsageError(f"{RATE_VARIABLE} is {text!r}: expected bytes per second, such as 1000, or 0")
        self._waited, self._got = 0.0, 0

    def timed(self, read: Callable[[int], bytes], count: int) -> bytes:
        """Return what `read(count)` returns.

        Raises:
            _TooSlowError: too little has arrived for too long.
        """
        start = time.monotonic()
        piece = read(count)
        self._waited += time.monotonic() - start
        self._got += len(piece)
        if piece and self._waited >= SILENCE:
            if self._got < self._least * self._waited:
                raise _TooSlowError(
                    f"too slow: {self._got} bytes in {self._waited:.0f} s; try again, or set {RATE_VARIABLE}"
                    f" below {self._least:g} bytes per second"
                )
            self._waited, self._got = 0.0, 0
        return piece


def _is_web(address: Address) -> bool:
    return address.text.partition("://")[0].lower() in _WEB


def _join(folder: str, name: str, *, web: bool) -> str:
    """Return the path of a file in a folder. The query of a web address stays at its end."""
    if web:
        parts = urlsplit(folder)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
    return f"{folder.rstrip('/')}/{name}" if folder else name


def _system(address: Address) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the folder's path in it.

    This is not cached here: fsspec keeps one for each thread, and knows which ones a fork has made useless.
    """
    advice = f"{display(address)}: an address needs fsspec >= 2025.5: pip install 'trajfmt[remote]'"
    try:
        core = importlib.import_module("fsspec.core")
        loops = importlib.import_module("fsspec.asyn")
    except ImportError as exc:
        raise MissingDependencyError(advice) from exc
    if not hasattr(loops, "reset_after_fork"):  # an older one hangs in a forked child
        raise MissingDependencyError(advice)
    options = _options(address)
    try:
        system, folder = core.url_to_fs(address.text, **options)
    except ImportError as exc:
        raise MissingDependencyError(
            f"{display(address)}: needs a package that is not installed: {_first_line(exc)}"
        ) from exc
    except ValueError as exc:
        raise UsageError(f"{display(address)}: not an address that fsspec knows: {_first_line(exc)}") from exc
    return system, folder


def _options(address: Address) -> dict[str, Any]:
    """Return options for fsspec's file systems: for web servers, a limit for each wait, and proxies."""
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
    _check_proxies(address)
    own = {"timeout": timeout, "trust_env": True}
    configured = importlib.import_module("fsspec.config").conf
    return {
        scheme: {"client_kwargs": {**own, **configured.get(scheme, {}).get("client_kwargs", {})}}
        for scheme in schemes
    }


def _check_proxies(address: Address) -> None:
    """Refuse a proxy of the environment that cannot be used for a web address.

    Raises:
        UsageError: the variable is not of the form `http://HOST:PORT`.
    """
    proxies = request.getproxies()
    for link in address.text.split("::"):
        scheme, host = link.partition("://")[0].lower(), urlsplit(link).hostname
        proxy = proxies.get(scheme, "") if scheme in _WEB else ""
        if not proxy or (host and request.proxy_bypass(host)):
            continue
        try:
            parts = urlsplit(proxy)
            good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise UsageError(
                f"{display(address)}: {scheme}_proxy is {display(without_credentials(proxy))!r}: expected"
                " http://HOST:PORT; correct or unset it, or name the host in no_proxy"
            )


@contextmanager
def _ending(system: Any, *, web: bool) -> Iterator[None]:
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


@contextmanager
def _translated(place: Address) -> Iterator[None]:
    """Turn the errors of a backend into errors of this package: one line, without credentials."""
    try:
        yield
    except (MissingDependencyError, UsageError, NothingThereError, TooLongError):
        raise
    except FileNotFoundError as exc:
        raise NothingThereError from exc
    except Exception as exc:  # backends share no base class
        if getattr(exc, "status", None) == _ABSENT:
            raise NothingThereError from exc
        if isinstance(exc, _TooSlowError):
            raise RemoteError(f"{display(place)}: {exc}") from exc
        if "invalidurl" in type(exc).__name__.lower():
            raise UsageError(f"{display(place)}: not a valid address") from exc
        raise RemoteError(f"{display(place)}: {_cause(exc)}") from exc


def _cause(exc: Exception) -> str:
    status = getattr(exc, "status", None)
    if isinstance(exc, PermissionError) or status in _REFUSED:
        return (
            "access was refused; give credentials in the way that fsspec's backend for this address expects"
        )
    kind = type(exc).__name__
    if "Proxy" in kind:
        why = getattr(getattr(exc, "os_error", None), "strerror", None) or _first_line(exc) or kind
        return f"no connection through the proxy that the environment names (http_proxy, https_proxy): {why}"
    if "Redirect" in kind:  # aiohttp's TooManyRedirects, NonHttpUrlRedirectClientError
        return (
            "the server redirects in circles, or away from the web; use the address of the files themselves"
        )
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
    """Return the first line of another library's message, printable and without credentials."""
    return display(without_credentials((str(text).splitlines() or [""])[0]))
