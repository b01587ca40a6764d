"""The verdicts of the reader in JavaScript about mutated bundles, beside those of the library.

Both must refuse the same bundles with the same code, and give the same bytes of the others. Only the bits of
what is not a number may differ.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import trajfmt
from benchmarks.trust.mutated.bundles import Subject
from benchmarks.trust.mutated.decoding import equal
from benchmarks.trust.mutated.places import Place
from benchmarks.trust.mutated.tallies import Tally
from benchmarks.trust.mutated.trials import drafted
from trajfmt.errors import FormatError

__all__ = ["compare"]

PROGRAM = Path(__file__).with_name("judge.mjs")

Judged = dict[str, Any]
"""`values` by name; the `stage` at which the bundle is refused, empty if it is not; and the `code`."""


def compare(subjects: list[Subject], chances: dict[int, Random], folder: Path) -> Tally:
    """Write mutated bundles into a folder, read them with both readers, and return what differs.

    Args:
        subjects: the bundles that are mutated.
        chances: random numbers, by the number of the trial.
        folder: for the bundles; those that make no difference are removed.
    """
    tally = Tally()
    drafts = {}
    for number, chance in chances.items():
        drafts[number] = drafted(chance, subjects)
        Place(folder / str(number)).hold(drafts[number].tree)
    done = subprocess.run(["node", PROGRAM, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"node fails: {done.stderr[-2000:]}")
    theirs = {int(found["name"]): found for found in map(json.loads, done.stdout.splitlines())}
    for number, draft in drafts.items():
        one, other = _judged(folder / str(number)), theirs[number]
        differs = _difference(one, other)
        said = f"{one['stage']}: {one['code']}" if one["stage"] else "accepted by both"
        tally.count(draft.subject.name, "+".join(draft.mutators), said)
        if differs:
            place = folder / str(number)
            tally.failures.append({"number": number, "wrong": [differs], "files": str(place)})
        else:
            shutil.rmtree(folder / str(number))
    return tally


def _judged(folder: Path) -> Judged:
    """Return what the library makes of a bundle, in the order in which `judge.mjs` reads."""
    values: dict[str, Any] = {}
    stage = "open"
    try:
        with trajfmt.open(folder) as bundle:
            stage = "read"
            for number in range(len(bundle)):
                if number not in bundle.refused:
                    _read(bundle[number], number, values)
            stage = "verify"
            bundle.verify()
    except FormatError as exc:
        return {"values": values, "stage": stage, "code": exc.reason}
    return {"values": values, "stage": "", "code": ""}


def _read(trajectory: Any, number: int, values: dict[str, Any]) -> None:
    convex = hasattr(trajectory, "u")
    tables = [getattr(trajectory, name, None) for name in ("u", "step_norms", "gram")]
    values[f"{number} tables"] = tables
    last = trajectory.last
    for t in (*trajectory.knots, 0.25, last / 2, last - 0.125) if convex else trajectory.knots:
        values[f"{number} {t:g}"] = trajectory.at(t)
        for name, array in trajectory.buffers(t).items():
            values[f"{number} {t:g} {name}"] = array


def _difference(one: Judged, other: Judged) -> str:
    """Return the first difference between two readers, empty if there is none."""
    if (one["stage"], one["code"]) != (other["stage"], other.get("code", "")):
        mine, theirs = (f"{side['stage']}: {side.get('code')}" for side in (one, other))
        return f"the library says {mine!r}, the reader in JavaScript {theirs!r}"
    if one["stage"] in ("open", "read"):
        return ""
    if one["values"].keys() != other["values"].keys():
        return f"other values: {sorted(one['values'].keys() ^ other['values'].keys())[:3]}"
    for name, value in one["values"].items():
        found = other["values"][name]
        pairs = zip(value, found, strict=True) if isinstance(value, list) else [(value, found)]
        if not all(_same(array, text) for array, text in pairs):
            return f"other bytes: {name}"
    return ""


def _same(array: np.ndarray | None, text: str | None) -> bool:
    if array is None or text is None:
        return array is None and text is None
    found = bytes.fromhex(text)
    if found == array.tobytes():
        return True
    return len(found) == array.nbytes and equal(array.reshape(-1), np.frombuffer(found, array.dtype))
