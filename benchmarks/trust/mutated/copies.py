"""A mutated bundle as the source of a conversion: the copy has the same weights, or nothing is left of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import trajfmt
from benchmarks.trust.mutated.conversions import flaw_of_source
from benchmarks.trust.mutated.decoding import equal
from trajfmt.bundle.validation import validate
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

__all__ = ["copied_wrong"]


def copied_wrong(folder: Path, scratch: Path, chance: Random) -> str:
    """Convert a bundle that was read without an error, and return what is wrong, empty if nothing is.

    Args:
        folder: the bundle.
        scratch: a folder for the copy, which is removed.
        chance: decides the encoding and the codec.
    """
    full = chance.random() < 0.7
    target = scratch / ("copy.mtt" if full else "copy.mct")
    options = {"codec": chance.choice(("none", "zstd", "archive"))} if full else {"dtype": "F64"}
    try:
        convert(folder, target, ConvertOptions(**options))
    except Exception as exc:
        flaw = flaw_of_source(exc)
        left = "" if not target.exists() else "a part of a copy is left"
        return f"copying gives {flaw}" if flaw else left
    else:
        if problems := validate(target):
            return f"the copy is not valid: {problems[0]}"
        return _first_difference(folder, target) if full else ""
    finally:
        for path in scratch.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _first_difference(folder: Path, target: Path) -> str:
    """Return the first trajectory of a copy that is none of the bundle's: equal ones are copied once."""
    with trajfmt.open(folder) as bundle, trajfmt.open(target) as copy:
        known: list[list[Any]] = [[np.array(row) for row in one.rows()] for one in bundle]
        for trajectory in copy:
            rows = list(trajectory.rows())
            if not any(len(rows) == len(one) and all(map(equal, rows, one)) for one in known):
                return f"the copy has other weights: trajectory {trajectory.index}"
    return ""
