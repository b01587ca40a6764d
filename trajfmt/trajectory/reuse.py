"""Sources that return the same memory for several timesteps, and overwrite it when they are read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from trajfmt.errors import UsageError, display

__all__ = ["require_own_memory"]

_SAMPLES: Final = 4096
"""Elements that are compared, spread over the parameter."""


def require_own_memory(source: Any, parameter: int, name: str, values: Sequence[Any]) -> None:
    """Require that what was read of one timestep is still there after the others were read.

    Two timesteps may share memory, such as those of a parameter that is not trained. Then the first one is
    read again, and nothing may change.

    Args:
        source: the trajectory.
        parameter: the index of the parameter.
        name: the name of the parameter.
        values: what was read of it at each timestep. Only arrays are looked at.

    Raises:
        UsageError: the memory of a timestep was overwritten.
    """
    seen: dict[int, int] = {}
    for t, array in enumerate(values):
        if not isinstance(array, np.ndarray) or not array.size:
            continue
        first = seen.setdefault(array.__array_interface__["data"][0], t)
        if first == t:
            continue
        every = max(1, array.size // _SAMPLES)
        before = array[::every].tobytes()
        if source.read(first, parameter)[::every].tobytes() == before:
            return
        raise UsageError(
            f"the source returns the same array for timesteps {first} and {t}, parameter `{display(name)}`,"
            " and overwrites it; return an array of its own for each timestep"
        )
