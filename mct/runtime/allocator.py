"""Keeping freed memory in the process instead of returning it to the system.

glibc returns large blocks to the system as soon as they are freed, so every new tensor causes page faults.
They take half of the time of a small network on a CPU. Only programs should change such a process-wide
setting: the commands of mct do, the library does not.
"""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # constants of <malloc.h>
_LARGEST_MMAP_THRESHOLD = 32 << 20  # the largest value that glibc accepts


def keep_memory() -> bool:
    """Raise glibc's thresholds for returning memory, for the whole process.

    Returns:
        Whether the thresholds were changed. They are not if the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # the C library is not glibc
        return False
    done = [
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        mallopt(_TRIM_THRESHOLD, 1 << 30),
        mallopt(_TOP_PAD, 64 << 20),
    ]
    return all(done)
