"""What a program decides for the libraries in it: memory, and where compiled code is kept."""

from __future__ import annotations

__all__ = ["settle"]


def settle() -> None:
    """Decide it, before the first computation."""
    from mct.allocator import keep_memory
    from mct.caches import keep_compiled

    keep_memory()
    keep_compiled()
