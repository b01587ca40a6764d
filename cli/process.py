"""What a program decides for the libraries in it, and what it says of the device that it chose."""

from __future__ import annotations

__all__ = ["device_note", "settle"]


def settle(*, deterministic: bool = False) -> None:
    """Decide what becomes of freed memory and of compiled code, before the first computation.

    Args:
        deterministic: The value of `--deterministic`.
    """
    from mct.runtime.allocator import keep_memory
    from mct.runtime.caches import keep_compiled
    from mct.runtime.determinism import compute_deterministically

    keep_memory()
    keep_compiled()
    if deterministic:
        compute_deterministically()


def device_note(asked: str, here: str) -> str | None:
    """Return what to say of the device once work has begun on it; None where the user named it.

    Args:
        asked: The value of `--device`.
        here: What became of it.
    """
    from mct.runtime import devices

    return f"computing on {devices.described(here)}" if asked == devices.AUTO else None
