"""Settings of the whole process: memory, compiled code, deterministic algorithms, and the device."""

from __future__ import annotations

__all__ = ["device_note", "settle"]


def settle(*, deterministic: bool = False) -> None:
    """Configure memory allocation, caches of compiled code and determinism, before the first computation.

    Args:
        deterministic: the value of `--deterministic`.
    """
    from mct.runtime.allocator import keep_memory
    from mct.runtime.caches import keep_compiled
    from mct.runtime.determinism import compute_deterministically

    keep_memory()
    keep_compiled()
    if deterministic:
        compute_deterministically()


def device_note(asked: str, here: str) -> str | None:
    """Return a note about the device that was chosen; None if the user named the device.

    Args:
        asked: the value of `--device`.
        here: the device that is used.
    """
    from mct.runtime import devices

    return f"computing on {devices.described(here)}" if asked == devices.AUTO else None
