"""Ctrl-C and SIGTERM, held back while something must not be torn."""

import signal
import threading
from types import FrameType

__all__ = ["Guard"]


class Guard:
    """A context manager that delays Ctrl-C and SIGTERM to the end of its `with` block.

    A block that takes long can ask `arrived` at moments that suit it, and end early. A guard may be entered
    many times, one after another. In threads other than the main one, which no signal interrupts, it does
    nothing; nor does it to signals that are ignored or that end the process without Python's doing.

    This installs handlers. A signal mask of this thread would not help: another thread, such as that of a
    progress bar, would take the signal, and Python would then interrupt the main thread all the same.

    Example:
        >>> import signal
        >>> guard = Guard()
        >>> try:
        ...     with guard:
        ...         signal.raise_signal(signal.SIGINT)
        ...         print("whole", guard.arrived)
        ... except KeyboardInterrupt:
        ...     print("interrupted")
        whole True
        interrupted
    """

    def __init__(self) -> None:
        self._came: list[tuple[int, FrameType | None]] = []
        self._before: dict[signal.Signals, object] = {}

    @property
    def arrived(self) -> bool:
        """Whether a signal has been held back. Any thread may ask."""
        return bool(self._came)

    def __enter__(self) -> "Guard":
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                if callable(signal.getsignal(kind)):
                    self._before[kind] = signal.signal(kind, self._hold)
        return self

    def __exit__(self, *_error: object) -> None:
        before, self._before = self._before, {}
        for kind, handler in before.items():
            signal.signal(kind, handler)  # type: ignore[arg-type]
        if self._came:
            (number, frame), self._came = self._came[0], []
            handler = before[signal.Signals(number)]
            assert callable(handler)
            handler(number, frame)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))
