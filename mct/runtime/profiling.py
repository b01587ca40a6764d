"""A trace of a few outer steps, in Chrome's format, which Perfetto opens."""

from pathlib import Path
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile

from mct.errors import ExistsError, MissingError

_FIRST: Final = 2
"""Of the steps of a process: the first one compiles, fills caches and is not like the others."""

_LAST: Final = 4


class Trace:
    """Records outer steps 2 to 4 of this process.

    Args:
        path: Where to write; None: nothing is recorded.

    Raises:
        ExistsError: The file is there.
        MissingError: Its folder is not.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None and path.exists():
            raise ExistsError(f"{path} exists; use another --profile, or remove it")
        if path is not None and not path.absolute().parent.is_dir():
            raise MissingError(f"{path.absolute().parent}: no such folder; create it, or choose another")
        self._path, self._step = path, 0
        self._running: profile | None = None

    def begin(self) -> None:
        """Begin an outer step."""
        self._step += 1
        if self._path is not None and self._step == _FIRST:
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            self._running = profile(activities=activities)
            self._running.start()

    def end(self, *, last: bool = False) -> str | None:
        """End an outer step; return what to tell the user where that has written, or lost, the trace.

        Args:
            last: There will be no other step.
        """
        if self._path is None or not (last or self._step == _LAST):
            return None
        path, self._path = self._path, None
        if self._running is None:
            return f"{path}: no trace, which is of outer steps {_FIRST} to {_LAST} of a process"
        running, self._running = self._running, None
        running.stop()
        running.export_chrome_trace(str(path))
        return f"{path}: trace of outer steps {_FIRST} to {self._step} of this process"
