"""Phases: work before or between the steps of a run that may take long, named while it lasts.

A function that loads, hashes, whitens or compiles says so with `phase`. A caller that shows progress receives
the names by `listening`. Nothing happens without a listener.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str | None], None]
"""Called with the name of a phase when it begins, and with the name of the enclosing one, or None, when it
ends."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_current: ContextVar[str | None] = ContextVar("current", default=None)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Name the work of the block, such as `loading CIFAR10`. Phases may be nested: the innermost one counts.

    Example:
        >>> said = []
        >>> with listening(said.append), phase("loading digits"):
        ...     with phase("whitening"):
        ...         pass
        >>> said
        ['loading digits', 'whitening', 'loading digits', None]
    """
    before, listener = _current.get(), _listener.get()
    token = _current.set(name)
    if listener is not None:
        listener(name)
    try:
        yield
    finally:
        _current.reset(token)
        if listener is not None:
            listener(before)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a function hear of the phases in the block. Other threads, and blocks outside, are not heard."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
