"""A process that has imported everything, and runs each trial in a fork of itself.

It is started with the library of `shim.c` preloaded. It reads one JSON object per line: a command, a fault,
and the folder that the fault concerns. It answers each with what came of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.trust.processes import Child, Fault


def main() -> None:
    """Answer trials until stdin ends."""
    from cli.traj import main as traj  # the rest is imported when the command runs for the first time

    if "web" in sys.argv[1:]:
        import aiohttp  # noqa: F401
        import fsspec.implementations.http  # noqa: F401
    if "torch" in sys.argv[1:]:
        import torch

        from benchmarks.trust import distilling, looking  # noqa: F401

        torch.set_num_threads(1)
        distilling.states()
    for line in sys.stdin:
        order = json.loads(line)
        if order.get(
            "here"
        ):  # once without a fork, so that what is imported late is imported before the forks
            print(json.dumps(warm(order, traj)), flush=True)
        else:
            print(json.dumps(trial(order, traj)), flush=True)


def warm(order: dict[str, Any], traj: Any) -> dict[str, Any]:
    """Run one command in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(order, traj)
    return {"code": code, "text": said.getvalue(), "calls": [], "hit": 0}


def trial(order: dict[str, Any], traj: Any) -> dict[str, Any]:
    """Run one command in a fork, with its fault, and return how it ended."""
    child = Child(
        lambda: run(order, traj), Path(order["prefix"]), Path(order["output"]), Fault(**order["fault"])
    )
    if (seconds := order.get("kill_after")) is not None and not child.over(seconds):
        child.kill()
    ended = child.wait()
    assert ended is not None
    return dataclasses.asdict(ended)


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
    from benchmarks.trust import distilling, looking

    return looking.told(lambda: distilling.save(folder))


if __name__ == "__main__":
    main()
