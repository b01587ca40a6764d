"""Work in forked processes: torch is imported already, and each may be in a network of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

_NETWORK = 0x40000000
"""CLONE_NEWNET of Linux."""


def forked(words: list[str], log: Path, *, network: str = "", **environment: str) -> int:
    """Run `mct` in a forked process, whose output goes to a file; return the process."""

    def command() -> None:
        sys.argv = ["mct", *words]
        (script,) = entry_points(group="console_scripts", name="mct")
        script.load()(words)

    return apart(command, log, network=network, **environment)


def apart(work: Callable[[], object], log: Path, *, network: str = "", **environment: str) -> int:
    """Do some work in a forked process, whose output goes to a file; return the process."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        if network and ctypes.CDLL(None).setns(os.open(f"/run/netns/{network}", os.O_RDONLY), _NETWORK):
            raise OSError("the network namespace cannot be entered")
        os.environ.update(environment)
        for kind, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            signal.signal(kind, handler)
        work()
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 0
    except Exception:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def ranks_here(size: int) -> list[dict[str, str]]:
    """Return what torchrun tells processes of one machine, rank by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    alike = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [alike | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def code_of(process: int) -> int:
    """Wait for a forked process, and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def can_make_networks() -> bool:
    """Return whether this process may create network namespaces."""
    if sys.platform != "linux" or os.geteuid() or shutil.which("ip") is None:
        return False
    name = f"mct-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


@contextmanager
def two_networks() -> Iterator[tuple[str, str, str]]:
    """Connect two network namespaces for the block; return their names, and the address of the first."""
    ends = [f"mct{os.getpid()}{side}" for side in "ab"]
    commands = [f"netns add {end}" for end in ends]
    commands.append(f"link add {ends[0]} netns {ends[0]} type veth peer name {ends[1]} netns {ends[1]}")
    for number, end in enumerate(ends, 1):
        commands += [f"-n {end} addr add 10.213.7.{number}/24 dev {end}"]
        commands += [f"-n {end} link set {device} up" for device in ("lo", end)]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        yield ends[0], ends[1], "10.213.7.1"
    finally:
        for end in ends:
            subprocess.run(["ip", "netns", "del", end], capture_output=True, check=False)
