"""A process that has imported everything, and runs each trial in a fork of itself.

It is started with the library of `shim.c` preloaded. It reads one JSON object per line: a command, a fault,
and the folder that the fault concerns. It answers each with what came of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import mmap
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_COUNTS = 16 * 8
"""Bytes of the counters of the library."""


def main() -> None:
    """Answer trials until stdin ends."""
    from cli.traj import main as traj  # the rest is imported when the command runs for the first time

    if sys.argv[1:] == ["torch"]:
        import torch

        from benchmarks.trust import distilling

        torch.set_num_threads(1)
        distilling.states()
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    for line in sys.stdin:
        order = json.loads(line)
        if order.get(
            "here"
        ):  # once without a fork, so that what is imported late is imported before the forks
            print(json.dumps(warm(order, traj)), flush=True)
        else:
            print(json.dumps(trial(order, traj, shared)), flush=True)


def warm(order: dict[str, Any], traj: Any) -> dict[str, Any]:
    """Run one command in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(order, traj)
    return {"code": code, "text": said.getvalue(), "calls": [], "hit": 0}


def arm(order: dict[str, Any], shared: mmap.mmap) -> None:
    """Arm the preloaded library."""
    fault = order["fault"]
    address = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    ctypes.CDLL(None).shim_arm(
        os.fsencode(order["prefix"]),
        ctypes.c_uint(fault["kinds"]),
        ctypes.c_long(fault["nth"]),
        ctypes.c_int(fault["action"]),
        ctypes.c_long(fault["number"]),
        ctypes.c_void_p(address),
    )


def trial(order: dict[str, Any], traj: Any, shared: mmap.mmap) -> dict[str, Any]:
    """Run one command in a fork, with its fault, and return how it ended."""
    shared[:_COUNTS] = bytes(_COUNTS)
    output = Path(order["output"])
    child = os.fork()
    if child == 0:
        code = 99
        try:
            written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(written, 1)
            os.dup2(written, 2)
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
            arm(order, shared)
            code = run(order, traj)
        except BaseException:  # as the interpreter does
            traceback.print_exc()
            code = 1
        finally:
            leave(code)
    if (seconds := order.get("kill_after")) is not None:
        time.sleep(seconds)
        os.kill(child, 9)
    end = time.monotonic() + 60
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return {"code": "hang", "text": output.read_text(), "calls": [], "hit": 0}
        time.sleep(0.001)
    counts = memoryview(shared)[:_COUNTS].cast("q").tolist()
    code = os.waitstatus_to_exitcode(done[1])
    return {"code": code, "text": output.read_text(), "calls": counts[2:], "hit": counts[1]}


def leave(code: int) -> None:
    """End the process as libhdf5 sees it; the exit handlers of other libraries would take too long."""
    import h5py

    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ctypes.CDLL(h5py.h5.__file__).H5close()
    os._exit(code)


def run(order: dict[str, Any], traj: Any) -> int:
    """Run the command, and return its exit code."""
    words = order["words"]
    try:
        if words[0] == "save":
            return saved(Path(words[1]))
        sys.argv = ["traj", *words]
        traj()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    return 0


def saved(folder: Path) -> int:
    """Save the state of a distillation, with the errors that `mct distill` shows; return its exit code."""
    from benchmarks.trust import distilling
    from cli import failures

    try:
        distilling.save(folder)
    except Exception as exc:
        known = failures.message_and_code(exc)
        if known is None:
            raise
        failures.say(known[0])
        return known[1]
    return 0


if __name__ == "__main__":
    main()
