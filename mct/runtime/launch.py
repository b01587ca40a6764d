"""What a launcher such as torchrun tells a process: how many share the run, which one this is, where to meet.

An empty variable counts as one that is not set.
"""

import os
from dataclasses import dataclass
from typing import Final

from mct.errors import ConfigError

WAIT_VARIABLE: Final = "MCT_WAIT"
"""Environment variable with the seconds that a process waits for the others to start."""

WAIT: Final = 300.0
"""Seconds that a process waits for the others to start, unless `MCT_WAIT` says otherwise."""

_INSTEAD: Final = "; start with torchrun, which sets it, or unset WORLD_SIZE to run alone"
_LARGEST_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The place of this process among those of the run."""

    size: int = 1
    """Number of processes."""

    rank: int = 0
    """Number of this process, from 0."""

    host: str = ""
    """Name or address of the machine of process 0."""

    port: int = 0
    """Port at which process 0, or torchrun for it, answers."""

    wait: float = WAIT
    """Seconds to wait for the others to start."""

    hosted: bool = False
    """Whether the launcher itself answers at the port, and not process 0."""

    attempt: str = "0"
    """Number of times that the launcher has started these processes again."""

    @property
    def is_host(self) -> bool:
        """Whether this process answers at the port."""
        return self.rank == 0 and not self.hosted

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} at {self.host}:{self.port}"


def launch() -> Launch:
    """Read the environment of this process.

    Raises:
        ConfigError: If a variable is missing, is not of its form, or contradicts another one.
    """
    size = _whole("WORLD_SIZE", 1, None, default=1, instead="; unset it to run one process")
    if size == 1:
        given = f"as WORLD_SIZE is {_given('WORLD_SIZE') or 'not set'}"
        _whole("RANK", 0, 0, default=0, instead=f", {given}; unset it, or start with torchrun")
        return Launch()
    rank = _whole("RANK", 0, size - 1, instead=f", as WORLD_SIZE is {size}{_INSTEAD}")
    host = _given("MASTER_ADDR")
    if host is None:
        raise ConfigError(
            f"MASTER_ADDR is not set: expected the machine of process 0, as WORLD_SIZE is {size}{_INSTEAD}"
        )
    return Launch(
        size=size,
        rank=rank,
        host=host,
        port=_whole("MASTER_PORT", 1, _LARGEST_PORT, instead=_INSTEAD),
        wait=_wait(),
        hosted=os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        attempt=_given("TORCHELASTIC_RESTART_COUNT") or "0",
    )


def local_rank(rank: int) -> int:
    """Return the number of this process on its machine; `rank` if the launcher does not say.

    Raises:
        ConfigError: If the variable is not a whole number.
    """
    return _whole("LOCAL_RANK", 0, None, default=rank, instead=_INSTEAD)


def local_size() -> int:
    """Return the number of processes on this machine, as far as it is known.

    Raises:
        ConfigError: If the variable is not a whole number above 0.
    """
    return _whole("LOCAL_WORLD_SIZE", 1, None, default=1, instead="; unset it, or start with torchrun")


def _given(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _whole(name: str, low: int, high: int | None, *, instead: str, default: int | None = None) -> int:
    text = _given(name)
    if text is None and default is not None:
        return default
    wanted = f"a whole number >= {low}" if high is None else f"{low} to {high}" if high > low else str(low)
    if text is None:
        raise ConfigError(f"{name} is not set: expected {wanted}{instead}")
    value = int(text) if text.isascii() and text.isdigit() else -1
    if value < low or (high is not None and value > high):
        raise ConfigError(f"{name} is {text!r}: expected {wanted}{instead}")
    return value


def _wait() -> float:
    text = _given(WAIT_VARIABLE)
    try:
        seconds = WAIT if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e6:
        raise ConfigError(
            f"{WAIT_VARIABLE} is {text!r}: expected the seconds to wait for other processes, such as {WAIT:g}"
        )
    return seconds
