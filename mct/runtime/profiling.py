"""A profiler trace of a few outer steps, in Chrome's format, which Perfetto opens."""

from pathlib import Path
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile

from mct.errors import ExistsError, MissingError

_FIRST: Final = 2
"""Number of the first traced outer step. Step 1 is not typical, as it compiles code and fills caches."""

_LAST: Final = 4
"""Number of the last traced outer step."""


class Trace:
    """Records a trace of outer steps 2 to 4 of this process.

    Args:
        path: File to write; None to record nothing.

    Raises:
        ExistsError: If the file exists.
        MissingError: If the folder of the file does not exist.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None and path.exists():
            raise ExistsError(f"{path} exists; give another file with --profile, or remove this one")
        if path is not None and not path.absolute().parent.is_dir():
            raise MissingError(f"{path.absolute().parent}: no such folder; create it, or give another file")
        self._path, self._step = path, 0
        self._running: profile | None = None

    def begin(self) -> None:
        """Start an outer step."""
        self._step += 1
        if self._path is not None and self._step == _FIRST:
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            self._running = profile(activities=activities)
            self._running.start()

    def end(self, *, last: bool = False) -> str | None:
        """End an outer step, and write the trace if this was the last step to trace.

        Args:
            last: Whether this is the last step of the run.

        Returns:
            A message for the user if the trace was written, or if the run was too short for a trace.
        """
        if self._path is None or not (last or self._step == _LAST):
            return None
        path, self._path = self._path, None
        if self._running is None:
            return (
                f"{path}: no trace was written, as this process ended before outer step {_FIRST}; a trace "
                f"covers outer steps {_FIRST} to {_LAST}"
            )
        running, self._running = self._running, None
        running.stop()
        running.export_chrome_trace(str(path))
        return f"{path}: trace of outer steps {_FIRST} to {self._step} of this process"
