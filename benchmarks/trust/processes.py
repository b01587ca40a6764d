"""A forked process that does one piece of work under the preloaded library, and how it ended."""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["NOTHING", "Child", "Ended", "Fault", "compiled", "die_with_parent", "environment"]

_COUNTERS = 17
_TICK = 0.0005
_PDEATHSIG = 1
LIMIT = 60.0
"""Seconds after which a process counts as hanging."""


@dataclass(frozen=True)
class Fault:
    """What happens at one system call of a process; see `shim.c`."""

    kinds: int
    nth: int = -1
    action: int = 0
    number: int = 0


NOTHING = Fault(2**14 - 1)


@dataclass
class Ended:
    """How a process ended."""

    code: int | str
    """Its exit code; that of a signal is negative, and `hang` stands for one that had to be killed."""

    text: str
    """What it printed, on stdout and stderr."""

    calls: list[int] = field(default_factory=list)
    """Its system calls, by kind."""

    hit: int = 0
    """The kind of the call that its fault met."""

    loose: int = 0
    """Renames that gave a final name to bytes that were not durable."""

    memory: int = 0
    """Largest resident memory in bytes, with that which it shares with its parent."""


class Child:
    """A forked process.

    Args:
        work: what it does, which returns its exit code.
        prefix: system calls that concern files below this folder are counted.
        output: the file that gets what it prints.
        fault: what happens to it.
        environment: variables that it has in addition.
    """

    def __init__(
        self,
        work: Callable[[], int],
        prefix: Path,
        output: Path,
        fault: Fault = NOTHING,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._output = output
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self.ended: Ended | None = None
        output.write_bytes(b"")  # the parent may read it before the child has begun
        self._process = os.fork()
        if self._process == 0:
            self._live(work, prefix, fault, environment or {})

    def _live(self, work: Callable[[], int], prefix: Path, fault: Fault, more: dict[str, str]) -> None:
        code = 99
        try:
            die_with_parent()
            written = os.open(self._output, os.O_WRONLY | os.O_APPEND)
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(written, number)
                setattr(
                    sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), write_through=True)
                )
            os.environ.update(more)
            self._arm(prefix, fault)
            code = work()
        except BaseException:  # as the interpreter does
            traceback.print_exc()
            code = 1
        finally:
            _leave(code)

    def _arm(self, prefix: Path, fault: Fault) -> None:
        """Arm the preloaded library."""
        ctypes.CDLL(None).shim_arm(
            os.fsencode(prefix),
            ctypes.c_uint(fault.kinds),
            ctypes.c_long(fault.nth),
            ctypes.c_int(fault.action),
            ctypes.c_long(fault.number),
            ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self._shared))),
        )

    def wait(self, limit: float = LIMIT) -> Ended | None:
        """Wait until the process has ended; None if it has stopped itself before."""
        end = time.monotonic() + limit
        while self.ended is None:
            found, status, used = os.wait4(self._process, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                return None
            if found:
                self._note(os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024)
            elif time.monotonic() > end:
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)
                self._note("hang", 0)
            else:
                time.sleep(_TICK)
        return self.ended

    def _note(self, code: int | str, memory: int) -> None:
        counts = memoryview(self._shared)[: _COUNTERS * 8].cast("q").tolist()
        text = self._output.read_text(errors="replace")
        self.ended = Ended(code, text, counts[2:16], counts[1], counts[16], memory)

    def over(self, seconds: float) -> bool:
        """Return whether the process ends within so many seconds."""
        end = time.monotonic() + seconds
        while self.ended is None:
            found, status, used = os.wait4(self._process, os.WNOHANG)
            if found:
                self._note(os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024)
            elif time.monotonic() > end:
                return False
            else:
                time.sleep(_TICK)
        return True

    def go_on(self) -> None:
        """Let a stopped process go on."""
        os.kill(self._process, signal.SIGCONT)

    def kill(self) -> Ended:
        """Kill the process, which may be stopped or have ended."""
        if self.ended is None:
            os.kill(self._process, signal.SIGKILL)
        ended = self.wait()
        assert ended is not None
        return ended


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent has ended."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, int(signal.SIGKILL))


def _leave(code: int) -> None:
    """End the process as libhdf5 sees it; the exit handlers of other libraries would take too long."""
    import h5py

    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ctypes.CDLL(h5py.h5.__file__).H5close()
    os._exit(code)


def compiled(folder: Path) -> Path:
    """Compile the library, and return its path."""
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def environment(library: Path) -> dict[str, Any]:
    """Return the environment of a process that has the library preloaded."""
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
