"""Meeting the other processes of a run before the first communication.

Process 0, or torchrun for it, keeps a store at an address that all know. Every process writes its number into
it and waits until all numbers are there. This says who is missing, which torch's own start does not.
"""

import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from torch import distributed

from mct.errors import AbsentError, first_line
from mct.runtime.launch import WAIT_VARIABLE, Launch

_QUIET: Final = 5.0
"""Seconds of waiting after which it is said what is waited for."""

_PAUSE: Final = 0.05
_ATTEMPT: Final = 2.0
_NAMED: Final = 8


def meet(place: Launch, notes: Callable[[str], object]) -> Any:
    """Return the store of the run, a `torch.distributed.Store`, when all its processes are there.

    Args:
        place: the place of this process among them.
        notes: called with a line that says what is waited for, once, after a few seconds.

    Raises:
        AbsentError: If this process cannot reach the store, or others have not come in time.
    """
    waiting = _Waiting(place, notes)
    _reach(place, waiting)
    store = distributed.PrefixStore(f"mct/{place.attempt}", _opened(place, waiting))  # type: ignore[attr-defined]
    try:
        store.set(str(place.rank), "here")
        while missing := [rank for rank in range(place.size) if not store.check([str(rank)])]:
            waiting.on(f"{_named(missing)} of {place.size}; {place.size - len(missing)} arrived")
    except RuntimeError as exc:
        raise AbsentError(f"{place}: the store of the run is gone: {first_line(exc)}") from exc
    return store


def _reach(place: Launch, waiting: "_Waiting") -> None:
    """Wait until the store answers. Process 0 makes it, and finds out whether its own address is one."""
    while True:
        try:
            if place.is_host:
                socket.getaddrinfo(place.host, place.port)
                return
            with socket.create_connection((place.host, place.port), timeout=_ATTEMPT):
                return
        except (OSError, UnicodeError) as exc:
            what = "the name of its own machine" if place.is_host else "rank 0, which does not answer"
            waiting.on(f"{what} ({getattr(exc, 'strerror', None) or exc})")


def _opened(place: Launch, waiting: "_Waiting") -> Any:
    """Return the store, opened in a thread: torch waits in it without end for a stranger to answer."""
    found: list[Any] = []

    def work() -> None:
        limit = timedelta(seconds=place.wait)
        try:
            found.append(
                distributed.TCPStore(  # type: ignore[attr-defined]
                    place.host, place.port, place.size, place.is_host, limit, wait_for_workers=False
                )
            )
        except (RuntimeError, ValueError) as exc:
            found.append(exc)

    threading.Thread(target=work, daemon=True).start()
    while not found:
        waiting.on("an answer of rank 0; another program may listen there")
    (store,) = found
    if isinstance(store, Exception):
        busy = "EADDRINUSE" in str(store)
        why = "the port is in use; choose another MASTER_PORT" if busy else first_line(store)
        raise AbsentError(f"{place}: {why}") from store
    return store


class _Waiting:
    """A wait of limited length, during which one line says what is waited for."""

    def __init__(self, place: Launch, notes: Callable[[str], object]) -> None:
        self._place, self._notes, self._start, self._said = place, notes, time.monotonic(), False

    def on(self, what: str) -> None:
        """Wait a moment.

        Raises:
            AbsentError: If the time is up.
        """
        place, passed = self._place, time.monotonic() - self._start
        if passed > place.wait:
            raise AbsentError(
                f"{place}: waited {place.wait:g} s for {what}; start the others, check MASTER_ADDR and "
                f"MASTER_PORT, or set {WAIT_VARIABLE} to more seconds"
            )
        if passed > min(_QUIET, place.wait / 2) and not self._said:
            self._said = True
            self._notes(f"{place}: waiting for {what} (at most {place.wait:g} s: {WAIT_VARIABLE})")
        time.sleep(_PAUSE)


def _named(ranks: list[int]) -> str:
    """Return some ranks as text."""
    shown = ", ".join(map(str, ranks[:_NAMED])) + (", …" if len(ranks) > _NAMED else "")
    return f"rank{'s' if len(ranks) > 1 else ''} {shown}"
