"""The facts about a bundle as rows of names and values, in words."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trajfmt.bundle.report import Summary
from trajfmt.schema.facts import phrase
from trajfmt.schema.models import model_name
from trajfmt.units import size

__all__ = ["rows", "sentence"]

_ENCODINGS = {"convex": "convexified", "full": "full"}


def sentence(summary: Summary) -> str:
    """Return one sentence that says what a bundle holds."""
    provenance = summary.provenance
    what = f"{summary.trajectories} {_ENCODINGS[summary.encoding]} training "
    what += "trajectory" if summary.trajectories == 1 else "trajectories"
    if provenance.model is not None:
        what += f" of {model_name(provenance.model)}"
    if provenance.dataset is not None:
        what += f" on {provenance.dataset}"
    return f"{what}, {_range(*summary.timesteps)} timesteps each, in the format trajfmt {summary.version}."


def rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield the facts about a bundle, each with its name. What is unknown is left out."""
    provenance = summary.provenance
    yield "trajectories", f"{summary.trajectories:,}"
    yield "timesteps of each", _range(*summary.timesteps)
    numbering = summary.numbering
    if numbering.words and (numbering.kind is None or numbering.uneven):
        yield "timesteps are", numbering.words
    elif numbering.words:
        yield "one timestep is", numbering.words.replace(" each", "", 1)
    if summary.knots is not None:
        yield "knots", ", ".join(map(str, summary.knots)) + (" (smoothed)" if summary.smoothed else "")
    if summary.codec is not None:
        yield "codec", summary.codec
    yield "parameters of the network", f"{summary.parameters:,} {summary.dtype}, {summary.tensors} tensors"
    if provenance.dataset is not None:
        yield "data set", provenance.dataset
    if provenance.model is not None:
        yield "network", f"{model_name(provenance.model)} ({phrase(provenance.model)})"
    if provenance.preprocessing is not None:
        yield "preprocessing", _preprocessing(summary)
    if provenance.recipe:
        yield "training", phrase(provenance.recipe)
    if provenance.sources:
        count = len(provenance.sources)
        yield "converted from", f"{count} source file" + ("s" if count > 1 else "")
    storage = summary.storage
    yield "size", f"{size(storage.total)} in {summary.files} files"
    yield "the same as replay buffers of MTT", size(storage.buffer)
    yield "written by", summary.generator
    yield "SHA-256 of the manifest", summary.sha256


def _preprocessing(summary: Summary) -> str:
    facts = msgspec.to_builtins(summary.provenance.preprocessing)
    facts.pop("images_sha256", None)
    return phrase({key: _short(value) for key, value in facts.items()})


def _short(value: object) -> object:
    """Return numbers with four significant digits, and any other value unchanged."""
    return " ".join(f"{number:.4g}" for number in value) if isinstance(value, list) else value


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
