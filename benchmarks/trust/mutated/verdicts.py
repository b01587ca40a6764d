"""What a reader may make of a mutated bundle: the right values, or one of the errors that are documented."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import numpy as np

import trajfmt
from benchmarks.trust.mutated.decoding import decoded, equal
from benchmarks.trust.mutated.places import Tree
from benchmarks.trust.mutated.seals import found, sums_hold
from trajfmt.bundle.validation import validate
from trajfmt.errors import FormatError, Problem, ReadError, TrajfmtError

__all__ = ["EXITS", "Verdict", "flaw_of", "judge", "values_of"]

EXITS: Final = {
    **dict.fromkeys(("not_a_bundle", "unknown_version", "unknown_feature"), 3),
    **dict.fromkeys(("manifest_invalid", "manifest_inconsistent", "file_missing", "file_size_mismatch"), 4),
    **dict.fromkeys(("hash_mismatch", "header_invalid", "header_mismatch", "chunk_invalid"), 4),
    **dict.fromkeys(("beta_invalid", "non_finite", "source_truncated", "source_invalid"), 4),
    **dict.fromkeys(("manifest_too_large", "path_unsafe", "size_overflow", "header_too_large"), 5),
    **dict.fromkeys(("hdf5_unsafe", "pickle_unsafe"), 5),
}
"""The exit code of each reason for which a bundle is refused, as the specification lists them."""

_LONGEST: Final = 6_000
"""Characters of a message. Names from a bundle have up to 1,024, escaped up to ten times as many."""

_TIMES: Final = 6
"""Timesteps of a trajectory that are read."""


@dataclass
class Verdict:
    """What came of a trial."""

    outcome: str
    """In a few words, as it is counted."""

    wrong: list[str] = field(default_factory=list)
    """What must not be; empty if all is well."""


def flaw_of(error: BaseException | Problem) -> str | None:
    """Return what is wrong with an error, None if it is as documented."""
    text = str(error)
    if not isinstance(error, (TrajfmtError, Problem)):
        return f"a foreign exception: {type(error).__name__}: {text[:200]}"
    if not text.isprintable() or not text:
        return f"a message that is not one printable line: {text[:200]!r}"
    if len(text) > _LONGEST:
        return f"a message of {len(text)} characters: {text[:200]}"
    if isinstance(error, (FormatError, Problem)):
        if EXITS.get(error.reason) != error.exit_code:
            return f"exit code {error.exit_code} for {error.reason}"
    elif not isinstance(error, ReadError):
        return f"a {type(error).__name__}: {text[:200]}"
    return None


def values_of(bundle: trajfmt.Bundle) -> dict[tuple[Any, ...], Any]:
    """Return everything that can be read of a bundle, by number of the trajectory, kind and timestep."""
    found: dict[tuple[Any, ...], Any] = {}
    for number in range(len(bundle)):
        if number in bundle.refused:
            found[number, "refused"] = bundle.refused[number].reason
            continue
        trajectory = bundle[number]
        whole = bundle.encoding == "full"
        last = trajectory.last
        times = range(last + 1) if whole else (0, 0.25, last / 2, last - 0.125, *trajectory.knots, last)
        for t in list(times)[:_TIMES]:
            found[number, "weights", t] = trajectory.at(t)
        for t in (0, last):
            for name, array in trajectory.buffers(t).items():
                found[number, "buffer", t, name] = array
        found[number, "numbers"] = trajectory.numbers
        for name in ("u", "step_norms", "gram"):
            found[number, name] = getattr(trajectory, name, None)
    return found


def judge(
    folder: Path,
    tree: Tree,
    *,
    before: bytes,
    known: dict[tuple[Any, ...], Any],
    verify: bool | Literal["read"],
    chance: Random,
) -> Verdict:
    """Read and validate a bundle in every way, and return the verdict.

    Args:
        folder: the bundle.
        tree: its files.
        before: the manifest that the bundle had before it was mutated.
        known: all its values then.
        verify: how it is opened.
        chance: decides whether a refused bundle is also validated.
    """
    refusal: BaseException | None = None
    values: dict[tuple[Any, ...], Any] = {}
    try:
        with trajfmt.open(folder, verify=verify, backend=chance.choice(("mmap", "pread"))) as bundle:
            values = values_of(bundle)
            other_way = _other_way(bundle, values) if chance.random() < 0.1 else ""
    except Exception as exc:
        refusal = exc
    verdict = Verdict("accepted" if refusal is None else "refused: " + _name(refusal))
    if refusal is not None:
        if flaw := flaw_of(refusal):
            verdict.wrong.append(f"reading gives {flaw}")
        if chance.random() < 0.1:
            _check_validation(folder, verdict, must="reading is refused")
        return verdict
    if other_way:
        verdict.wrong.append(other_way)
    text = found(tree, "manifest.json")
    if text == before and verify and (name := _difference(values, known)):
        verdict.wrong.append(f"another value passes for verified: {name}")
    if chance.random() < 0.6 and (name := _disagreement(folder, values)):
        verdict.wrong.append(name)
    sound = isinstance(text, bytes) and sums_hold(json.loads(text), tree)
    if sound and chance.random() < 0.6:
        return verdict
    reason = _check_validation(folder, verdict, must="" if sound else "a hash is wrong")
    if reason and sound:
        verdict.outcome = "validated: " + reason
    elif not sound:
        verdict.outcome = "accepted unverified, validated: " + reason
    return verdict


def _other_way(bundle: trajfmt.Bundle, values: dict[tuple[Any, ...], Any]) -> str:
    """Read all rows of a bundle one after the other, and return the first that is not as it was alone."""
    for number in range(len(bundle)):
        if number in bundle.refused or bundle[number].timesteps > _TIMES:
            continue
        for t, row in enumerate(bundle[number].rows()):
            alone = values.get((number, "weights", t))
            if alone is not None and not equal(row, alone):
                return f"rows and single timesteps differ: trajectory {number}, timestep {t}"
    return ""


def _name(error: BaseException) -> str:
    return error.reason if isinstance(error, FormatError) else type(error).__name__


def _check_validation(folder: Path, verdict: Verdict, must: str) -> str:
    """Validate, and note what is wrong about what is found. Return the reason of the first problem."""
    try:
        problems = validate(folder)
    except Exception as exc:
        if flaw := flaw_of(exc):
            verdict.wrong.append(f"validation gives {flaw}")
        return _name(exc)
    flaws = filter(None, map(flaw_of, problems[:20]))
    verdict.wrong += [f"validation reports {flaw}" for flaw in flaws]
    if must and not problems:
        verdict.wrong.append(f"{must}, but validation finds nothing")
    return problems[0].reason if problems else ""


def _difference(values: dict[tuple[Any, ...], Any], known: dict[tuple[Any, ...], Any]) -> str:
    """Return the name of the first value that differs, empty if none does."""
    if values.keys() != known.keys():
        return f"{sorted(values.keys() ^ known.keys(), key=str)[0]} is on one side only"
    for key, one in values.items():
        other = known[key]
        same = (
            equal(one, other)
            if isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
            else one is other or one == other
        )
        if not same:
            return f"{key}"
    return ""


def _disagreement(folder: Path, values: dict[tuple[Any, ...], Any]) -> str:
    """Compare weights with those of an independent program, and return the first disagreement."""
    times: dict[int, list[float]] = {}
    for key in values:
        if key[1] == "weights":
            times.setdefault(key[0], []).append(key[2])
    try:
        others = decoded(folder, times)
    except Exception as exc:
        return f"an independent program refuses what is read: {type(exc).__name__}: {exc}"
    for (number, t), other in others.items():
        one = values[number, "weights", t]
        if one.dtype.name == "bfloat16":
            one = one.astype(np.float32)
        if not equal(one, other):
            return f"an independent program reads other weights: trajectory {number}, timestep {t}"
    return ""
