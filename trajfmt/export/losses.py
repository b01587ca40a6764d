"""What a bundle holds and the files of a target have no place for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from trajfmt.bundle.numbering import numbering_of, numbers
from trajfmt.bundle.reader import Bundle
from trajfmt.errors import counted, display
from trajfmt.schema.facts import averaged
from trajfmt.schema.manifest import ConvexManifest

__all__ = ["Kept", "losses", "order"]

Kept = Literal["numbers", "buffers", "names", "knots"]
"""A part of a bundle that the files of a target may hold."""


def losses(bundle: Bundle, kept: frozenset[Kept], *, float32: bool) -> Sequence[str]:
    """Return a remark on what is not in the exported files, or none if all of it is.

    Args:
        bundle: the bundle.
        kept: what the files of the target hold besides the weights.
        float32: whether float32 tensors are written, whatever the dtype of the bundle.
    """
    entries = bundle.manifest.trajectories
    lost = []
    known = [numbers(bundle, trajectory) for trajectory in bundle] if "numbers" not in kept else []
    others = [each for each in known if list(each) != list(range(len(each)))]
    if others:
        shown = ", ".join(map(str, others[0][:3])) + (", …" if len(others[0]) > 3 else "")
        lost.append(f"the numbers of the timesteps ({shown}; these files count from 0)")
    found = numbering_of(bundle.manifest)
    if "numbers" not in kept and found.kind is not None and (found.kind, found.every) != ("epoch", 1):
        what = (
            f"a timestep is {counted(found.every, found.kind)}" if found.every else f"they are {found.words}"
        )
        lost.append(f"that {what} (programs that read these files assume an epoch)")
    if "buffers" not in kept and any(entry.buffers is not None for entry in entries):
        lost.append("module buffers")
    if "names" not in kept:
        lost.append("names of parameters")
    if isinstance(bundle.manifest, ConvexManifest):
        lost += _of_tables(bundle, bundle.manifest, kept)
    facts = [name for name in msgspec.to_builtins(bundle.manifest.provenance) if name != "known_from"]
    if facts:
        lost.append(f"provenance ({', '.join(facts)})")
    notes = [f"not in these files: {'; '.join(lost)}"] if lost else []
    if float32 and bundle.layout.dtype == "F64":
        notes.append("weights are F64, and rounded to float32")
    return notes


def _of_tables(bundle: Bundle, manifest: ConvexManifest, kept: frozenset[Kept]) -> list[str]:
    """Return what is lost of knots and tables."""
    gram = ["Gram matrices"] if any(entry.table.gram is not None for entry in manifest.trajectories) else []
    if "knots" not in kept:
        return ["knots, betas and step norms (the path at whole timesteps is written)", *gram]
    lost = ["step norms", *gram]
    if len(bundle.layout.layers) < len(bundle.layout.parameters):
        lost.append("layers (each tensor gets the betas of its layer)")
    if (count := averaged(manifest.provenance)) > 1:
        lost.append(f"that every knot but the first is the mean of {count} timesteps")
    elif any(len(entry.knots) > 2 for entry in manifest.trajectories):
        lost.append(f"that knots are {'' if manifest.smoothed else 'not '}smoothed")
    return lost


def order(bundle: Bundle) -> Sequence[str]:
    """Return a remark if parameters without names may be in another order than that of a module.

    The order of a bundle is unknown if it comes from safetensors files, which sort their tensors, unless its
    network is one of MTT's: then a conversion has put them in order.
    """
    about = bundle.manifest.provenance
    known = about.model is not None and about.model.family != "other"
    if known or not any(source.name.endswith(".safetensors") for source in about.sources):
        return []
    names = [parameter.name for parameter in bundle.layout.parameters]
    shown = ", ".join(f"`{display(name)}`" for name in names[:2]) + (", …" if len(names) > 2 else "")
    return [
        f"parameters are in the order of the safetensors files that the bundle comes from ({shown}), which"
        " may not be that of Module.parameters(): programs that pair them with a module would mix them up"
    ]
