"""Keeps freed memory in the process instead of giving it back after every tensor.

glibc returns large blocks to the system at once, and each new tensor then costs page faults: half of the
time of a small network on a CPU. A program decides this, never a library: the commands of mct call it.
"""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc refuses more


def keep_memory() -> bool:
    """Set glibc's thresholds for the process, and return whether that was possible."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    done = [
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        mallopt(_TRIM_THRESHOLD, 1 << 30),
        mallopt(_TOP_PAD, 64 << 20),
    ]
    return all(done)
