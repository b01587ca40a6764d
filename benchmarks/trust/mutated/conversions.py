"""What a converter may make of a mutated source: its values, or one of the errors that are documented."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from random import Random
from typing import Any, Final, get_args

import numpy as np
import torch

import trajfmt
from benchmarks.trust.mutated.decoding import equal
from benchmarks.trust.mutated.verdicts import EXITS, Verdict, flaw_of
from trajfmt.bundle.validation import validate
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import FormatError, Reason, SourceError
from trajfmt.sources.discovery import open_source

__all__ = ["Values", "flaw_of_source", "judge", "weights_of"]

Values = dict[tuple[int, int, int, int], Any]
"""Weights by part, trajectory, timestep and parameter."""

_OF_SOURCES: Final = (set(get_args(Reason)) - EXITS.keys()) | {"non_finite"}
"""The reasons for which a source is not converted, with exit code 1."""

_MOST: Final = 400
"""Tensors that are read of a source."""


def judge(folder: Path, scratch: Path, *, known: Values | None, chance: Random) -> Verdict:
    """Read a source, sometimes convert it, and return the verdict.

    Args:
        folder: the source.
        scratch: a folder for what is written.
        known: the weights that it must have if it is accepted; None if others are as well.
        chance: decides what else is done.
    """
    try:
        values = weights_of(folder, scratch)
    except Exception as exc:
        verdict = Verdict(f"source refused: {_name(exc)}")
        if flaw := flaw_of_source(exc):
            verdict.wrong.append(f"reading gives {flaw}")
        if chance.random() < 0.02:
            _convert(folder, scratch, None, verdict)
        return verdict
    verdict = Verdict("source accepted")
    if known is not None and (name := _difference(values, known)):
        verdict.wrong.append(f"another value passes, though a checksum covers it: {name}")
    if chance.random() < 0.3 and (name := _disagreement(folder, values)):
        verdict.wrong.append(name)
    if chance.random() < 0.04:
        _convert(folder, scratch, values, verdict)
    return verdict


def weights_of(folder: Path, scratch: Path) -> Values:
    """Return the weights of all trajectories of a source, up to a number of tensors."""
    values: Values = {}
    for number, part in enumerate(open_source(folder).parts):
        for index, trajectory in enumerate(part.open(scratch)):
            trajectory.check()
            _ = trajectory.names, trajectory.numbers, trajectory.dtype
            knots = getattr(trajectory, "knots", range(trajectory.timesteps))
            if isinstance(knots, tuple):  # it is convexified
                values[number, index, -1, 0] = np.array(trajectory.u)
            for t in range(len(knots)):
                for parameter in range(len(trajectory.shapes)):
                    if len(values) < _MOST:
                        row = trajectory.read(t, parameter)
                        values[number, index, t, parameter] = np.array(row[0 : row.shape[0]])
                if len(values) < _MOST:
                    trajectory.buffers(t)
            trajectory.close()
    return values


def _convert(folder: Path, scratch: Path, values: Values | None, verdict: Verdict) -> None:
    """Convert a source, and require that nothing is left of what fails, and the weights of what does not."""
    target = scratch / "out.mtt"
    try:
        convert(folder, target, ConvertOptions(codec="none"))
    except Exception as exc:
        verdict.outcome += f", conversion refused: {_name(exc)}"
        if flaw := flaw_of_source(exc):
            verdict.wrong.append(f"conversion gives {flaw}")
        if target.exists():
            verdict.wrong.append("a part of a bundle is left")
    else:
        verdict.outcome += ", converted"
        if values is None:
            verdict.wrong.append("what cannot be read is converted")
        elif problems := validate(target):
            verdict.wrong.append(f"the bundle is not valid: {problems[0]}")
        elif (
            not any(key[2] < 0 for key in values)
            and len(values) < _MOST
            and (t := _first_other(target, values))
        ):
            verdict.wrong.append(f"other weights are converted: {t}")
    for path in scratch.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _first_other(target: Path, values: Values) -> str:
    """Return the first trajectory of a bundle that is not in the source; repeated ones are left out."""
    rows: dict[tuple[int, int], dict[int, list[Any]]] = {}
    for (part, index, t, _), row in values.items():
        rows.setdefault((part, index), {}).setdefault(t, []).append(row)
    paths = [[np.concatenate(path[t]) for t in sorted(path)] for path in rows.values()]
    with trajfmt.open(target) as bundle:
        for trajectory in bundle:
            found = list(trajectory.rows())
            if not any(len(path) == len(found) and all(map(equal, path, found)) for path in paths):
                return f"trajectory {trajectory.index}"
    return ""


def flaw_of_source(error: BaseException) -> str | None:
    """Return what is wrong with an error, None if it is as documented."""
    if isinstance(error, SourceError):
        text = str(error)
        if error.reason not in _OF_SOURCES:
            return f"exit code {error.exit_code} for {error.reason}"
        return None if text.isprintable() and len(text) < 6000 else f"a message like {text[:200]!r}"
    return flaw_of(error)


def _name(error: BaseException) -> str:
    return error.reason if isinstance(error, (FormatError, SourceError)) else type(error).__name__


def _difference(values: Values, known: Values) -> str:
    if values.keys() != known.keys():
        return "other tensors"
    return next((str(key) for key, one in values.items() if not equal(one, known[key])), "")


def _disagreement(folder: Path, values: Values) -> str:
    """Compare plain buffers with what torch reads, and return the first disagreement."""
    files = sorted(file for file in folder.glob("replay_buffer_*.pt") if file.is_file())
    found: Values = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number, file in enumerate(files):
                for index, path in enumerate(torch.load(file, weights_only=True)):
                    for t, step in enumerate(path):
                        for parameter, tensor in enumerate(step):
                            found[number, index, t, parameter] = tensor.detach().contiguous().view(-1)
    except Exception:  # torch refuses more, and may
        return ""
    for key in values.keys() & found.keys():
        other = found[key]
        other = other.float().numpy() if other.dtype == torch.bfloat16 else other.numpy()
        one = values[key].astype(np.float32) if values[key].dtype.name == "bfloat16" else values[key]
        if not equal(one, other):
            return f"torch reads other weights: {key}"
    return ""
