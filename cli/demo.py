"""The command `mct demo`: run the usual commands as subprocesses, and print each before it runs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from . import failures

_MARKER = ".mct-demo"
"""A file that marks a folder as the output of a demo, which another demo may replace."""


def run(out: Path, *, force: bool, seed: int) -> None:
    """Run all steps of the demo.

    Args:
        out: folder for all files.
        force: replace the folder of an earlier demo.
        seed: seed of all random numbers.
    """
    _prepare(out, force=force)
    began = time.monotonic()
    buffer = Path("buffer", "digits_NO_ZCA", "ConvNetD2W32")
    _say("Train experts on the handwritten digits of scikit-learn, and save them in MTT's layout:")
    chosen = ["--seed", str(seed)] if seed else []
    _command(out, "mct", "experts", "--dataset", "digits", "--out", "buffer", *chosen)
    _say("Convexify the trajectories, inspect them, and distil one image per class:")
    _command(out, "traj", "convert", str(buffer), "out.mct")
    _command(out, "traj", "inspect", "out.mct")
    _command(out, "mct", "distill", "--traj", "out.mct", *chosen)
    _say("Train fresh networks on the 10 distilled images, and on 10 random real images:")
    _command(out, "mct", "evaluate", "out-distilled", *chosen)
    _say(f"The distilled images: {out / 'out-distilled' / 'images.png'}")
    _say(f"Everything took {time.monotonic() - began:.0f} s; all files are in {out}")


def _prepare(out: Path, *, force: bool) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / _MARKER).is_file():
            failures.fail(f"{out} exists and was not made by a demo; choose another --out", 2)
        if not force:
            failures.fail(
                f"{out} holds an earlier demo; pass --force to replace it, or choose another --out", 2
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARKER).touch()


def _say(text: str) -> None:
    click.secho(f"\n{text}", bold=True)
    sys.stdout.flush()


def _command(cwd: Path, program: str, *arguments: str) -> None:
    """Print a command as a user would type it, and run it with this interpreter."""
    click.secho(f"$ {shlex.join([program, *arguments])}", fg="cyan")
    sys.stdout.flush()
    # `-m traj_cli` would need a module for each group; the code of the entry point is as short.
    code = f"import sys; sys.argv[0] = {program!r}; from {__package__}.{program} import main; main()"
    # For networks this small, one thread is as fast as two, and is not slowed down by busy cores.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=cwd, env=environment)
    status = _wait(process.wait)
    if status:
        raise SystemExit(130 if status < 0 else status)


def _wait(wait: Callable[[], int]) -> int:
    """Wait for a command and return its exit status.

    Ctrl-C interrupts the command too. It then writes what it needs to continue, so wait until it ends.
    """
    try:
        return wait()
    except KeyboardInterrupt:
        wait()
        raise SystemExit(130) from None  # the command has printed its own message
