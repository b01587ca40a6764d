"""The weights of a bundle by the program of the test vectors, which shares no code with the library."""

from __future__ import annotations

import runpy
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["decoded", "equal"]

PROGRAM = Path(__file__).resolve().parents[3] / "spec" / "v1" / "vectors" / "read.py"


@cache
def _program() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def decoded(folder: Path, times: dict[int, list[float]]) -> dict[tuple[int, float], np.ndarray]:
    """Return weights by trajectory and timestep.

    Args:
        folder: the bundle.
        times: the timesteps that are wanted, by trajectory.
    """
    program = _program()
    found = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        manifest = program["manifest_of"](folder)
        for number, wanted in times.items():
            entry = manifest["trajectories"][number]
            for name, offset, size in program["regions"](manifest, entry):
                program["need"](offset + size <= program["listed_size"](manifest, name), "size_overflow")
            for t in wanted:
                if manifest["encoding"] == "convex":
                    found[number, t] = program["convex"](folder, manifest, entry, t)
                else:
                    found[number, t] = program["full"](folder, manifest, entry, int(t))
    return found


def equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays have the same bits, but for those of what is not a number."""
    if one.tobytes() == other.tobytes():
        return True
    if one.shape != other.shape or one.dtype.itemsize == 1:
        return False
    if one.dtype.kind not in "fV" and one.dtype.name != "bfloat16":
        return False
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        a, b = one.astype(np.float64), other.astype(np.float64)
        same = (a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)
    return bool(same.all())
