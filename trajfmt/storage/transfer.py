"""Bytes from an address, as a stream of limited length, with fsspec.

This is the only module that opens files with fsspec. It imports it when the first address is used. `causes`
translates the errors of its many backends. Credentials are found by each backend itself, in its own files and
environment variables. Web servers are reached through the proxies of `http_proxy`, `https_proxy` and
`no_proxy`.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from trajfmt.errors import MissingDependencyError, UsageError, display
from trajfmt.storage.address import Address
from trajfmt.storage.causes import (
    ChangedError,
    NoRangesError,
    TooLongError,
    TooSlowError,
    first_line,
    translated,
)
from trajfmt.storage.connections import ending
from trajfmt.storage.proxies import check_proxies

__all__ = ["Copy", "exists", "stream"]

_BLOCK: Final = 4 * 2**20
_HUB_BLOCK: Final = 4 * _BLOCK
"""What is read at once from the Hugging Face hub, where each read of a part is a request of its own."""

_WEB: Final = ("http", "https")
_PARTIAL: Final = 206

CONNECT: Final = 20.0
"""Seconds after which connecting to a web server is given up."""

SILENCE: Final = 60.0
"""Seconds without any data after which a web server is given up, and over which the rate is measured."""

RATE_VARIABLE: Final = "TRAJFMT_MIN_RATE"
"""Environment variable with the slowest rate that is accepted, in bytes per second; 0 accepts any."""

RATE: Final = 1000.0
"""The slowest rate that is accepted unless the variable states another one, in bytes per second."""


@dataclass
class Copy:
    """The copy of a file that a server has, so that another one is noticed after a broken connection."""

    tag: str = ""
    """What the server calls it: its ETag, or the time of its last change; empty if unknown."""


def stream(
    address: Address, name: str, limit: int, *, start: int = 0, part: bool = False, copy: Copy | None = None
) -> Generator[bytes, None, None]:
    """Yield the contents of a file from byte `start` on in blocks, at most `limit` bytes.

    A whole file is requested from a web server without a range, which not every server has. Closing the
    generator ends the connection.

    Args:
        address: a folder.
        name: path of the file in that folder.
        limit: bytes that the caller accepts.
        start: the first byte.
        part: fetch just `limit` bytes. Without it, the file must end where they end.
        copy: filled in when the server answers. If it was filled in before, the file must be the same copy.

    Raises:
        NothingThereError: there is no such file.
        TooLongError: the file has more bytes. At most one more was fetched.
        NoRangesError: only a part was wanted, and the server sends whole files only.
        ChangedError: the file is not the same copy.
        RemoteError: the address cannot be reached, the connection failed, or it is too slow. It is a
            `BrokenError` if another try may end better.
        MissingDependencyError: fsspec, or the package that it needs for this kind of address, is missing.
        UsageError: fsspec does not know this kind of address, or it is not valid, or the least rate is not.
    """
    with translated(address / name):
        watch = _Watch()
        system, folder = _system(address)
        web, hub = _is_web(address), system.protocol == "hf"
        block = _HUB_BLOCK if hub else _BLOCK
        path = _join(folder, name, web=web)
        copy = copy or Copy()
        with ending(system, web=web):
            if web:
                opened = _open_web(system, path, limit, start, part=part, copy=copy)
            elif part and system.async_impl:
                yield from _cat(system, path, start, limit)
                return
            elif part or (hub and start):
                opened = _open_part(system, path)
            else:
                opened = system.open(path, "rb", **({"block_size": 0} if hub else {}))
            with opened as file:
                if start and not web:
                    _seek(file, start, watch, part=part)
                elif start and file.r.status != _PARTIAL:
                    _skip(file, start, watch)
                size = getattr(file, "size", None)
                if isinstance(size, int) and not part and size - start > limit:
                    raise TooLongError
                while piece := watch.timed(file.read, min(block, limit if part else limit + 1)):
                    limit -= len(piece)
                    if limit < 0:
                        raise TooLongError
                    yield piece


def _open_web(system: Any, path: str, limit: int, start: int, *, part: bool, copy: Copy) -> Any:
    """Return the open answer of a web server, from byte `start` on unless the server has no ranges.

    Raises:
        NoRangesError: only a part was wanted, and the answer is the whole file.
        ChangedError: the file is not the same copy.
    """
    headers = {}
    if start or part:
        headers = {
            "Range": f"bytes={start}-{start + limit - 1 if part else ''}",
            "Accept-Encoding": "identity",
        }
        if copy.tag:
            headers["If-Range"] = copy.tag
    # aiohttp closes the connection of an answer that it refuses itself; fsspec leaves it open
    options: dict[str, Any] = {"block_size": 0, "size": max(1, limit), "raise_for_status": True}
    if headers:
        options["headers"] = {**system.kwargs.get("headers", {}), **headers}
    file = system.open(path, "rb", **options)
    answer = file.r
    tag = answer.headers.get("ETag", "")
    tag = answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    try:
        if part and answer.status != _PARTIAL:
            raise NoRangesError
        if copy.tag and tag != copy.tag and (tag or answer.status != _PARTIAL):
            raise ChangedError
    except BaseException:
        file.close()
        raise
    copy.tag = tag or copy.tag
    return file


def _open_part(system: Any, path: str) -> Any:
    """Return an open file from which, if its backend allows it, just the bytes are fetched that are read."""
    try:
        return system.open(path, "rb", cache_type="none")
    except TypeError:  # it does not know this option
        return system.open(path, "rb")


def _seek(file: Any, start: int, watch: _Watch, *, part: bool) -> None:
    """Go to byte `start` of a file.

    Raises:
        NoRangesError: only a part was wanted, and its backend reads files from their beginning only.
    """
    try:
        file.seek(start)
    except (OSError, ValueError, NotImplementedError) as exc:
        if part:
            raise NoRangesError from exc
        _skip(file, start, watch)


def _skip(file: Any, count: int, watch: _Watch) -> None:
    """Read and forget bytes of a server that sends files from their beginning only."""
    while count and (piece := watch.timed(file.read, min(_BLOCK, count))):
        count -= len(piece)


def _cat(system: Any, path: str, start: int, count: int) -> Iterator[bytes]:
    """Yield a part of a file from a backend that fetches just the bytes it is asked for."""
    for low in range(start, start + count, _BLOCK):
        yield system.cat_file(path, start=low, end=min(low + _BLOCK, start + count))


def exists(address: Address) -> bool:
    """Return whether there is anything at an address. An error of the backend counts as no."""
    try:
        system, folder = _system(address)
        system.info(folder)
    except Exception:  # backends share no base class for their errors
        return False
    return True


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
            TooSlowError: too little has arrived for too long.
        """
        start = time.monotonic()
        piece = read(count)
        self._waited += time.monotonic() - start
        self._got += len(piece)
        if piece and self._waited >= SILENCE:
            if self._got < self._least * self._waited:
                raise TooSlowError(
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
            f"{display(address)}: needs a package that is not installed: {first_line(exc)}"
        ) from exc
    except ValueError as exc:
        raise UsageError(f"{display(address)}: not an address that fsspec knows: {first_line(exc)}") from exc
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
    check_proxies(address)
    own = {"timeout": timeout, "trust_env": True}
    configured = importlib.import_module("fsspec.config").conf
    return {
        scheme: {"client_kwargs": {**own, **configured.get(scheme, {}).get("client_kwargs", {})}}
        for scheme in schemes
    }
