"""Whether a source may be added to a bundle that exists."""

from __future__ import annotations

from pathlib import Path

import msgspec

from trajfmt.bundle.writer import BundleWriter
from trajfmt.convert.identify import Identity
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.table import encoder_for, encoding_of_path
from trajfmt.errors import UsageError, display

__all__ = ["check_append"]


def check_append(writer: BundleWriter, identity: Identity, options: ConvertOptions, target: Path) -> None:
    """Refuse to mix what a bundle cannot tell apart; add facts that it did not know.

    Raises:
        UsageError: the source is of another kind than the bundle at `target`.
    """
    name_of = display(target)
    new, old = identity.provenance, writer.provenance
    source, stored = identity.layout, writer.layout
    if source.dtype != stored.dtype and source.cast(stored.dtype).parameters == stored.parameters:
        raise UsageError(
            f"{name_of}: stores {stored.dtype}, these weights are {source.dtype}; give --dtype"
            f" {stored.dtype.lower()}"
        )
    if source.parameters != stored.parameters:
        raise UsageError(f"{name_of}: holds another network or other parameter names than the source")
    encoding = encoding_of_path(target).name
    asked = encoder_for(encoding, options.writing(identity.cast), identity.layout)
    plain = encoder_for(encoding, Options(), identity.layout)
    if asked not in (plain, writer.encoder):
        raise UsageError(
            f"{name_of}: was made with {writer.encoder.settings}, not {asked.settings}; leave the options out"
        )
    if options.layers != "tensor" and identity.layout.layers != writer.layout.layers:
        raise UsageError(f"{name_of}: has other layers than `--layers {options.layers}`; leave it out")
    facts = {name: getattr(new, name) for name in ("dataset", "model", "preprocessing")}
    for name, ours in facts.items():
        theirs = getattr(old, name)
        if ours is not None and theirs is not None and ours != theirs:
            raise UsageError(f"{name_of}: its {name} is {_short(theirs)}, the source's is {_short(ours)}")
    ablations = [(about.recipe or {}).get("ablation") for about in (old, new)]
    if ablations[0] != ablations[1]:
        raise UsageError(
            f"{name_of}: its ablation is {ablations[0] or 'none'}, the source's is {ablations[1] or 'none'}"
        )
    if new.timestep and old.timestep and new.timestep.kind != old.timestep.kind:
        raise UsageError(
            f"{name_of}: its timesteps are {old.timestep.kind}s, the source's are {new.timestep.kind}s"
        )
    if (new.first_timestep or 0) != (old.first_timestep or 0):
        raise UsageError(
            f"{name_of}: its trajectories begin at timestep {old.first_timestep or 0} of their sources,"
            f" these would at {new.first_timestep or 0}"
        )
    unknown = {name: fact for name, fact in facts.items() if getattr(old, name) is None}
    writer.provenance = msgspec.structs.replace(old, **unknown)


def _short(fact: object) -> object:
    """Return a fact of provenance for a message."""
    facts = msgspec.to_builtins(fact)
    return " ".join(f"{key} {value}" for key, value in facts.items()) if isinstance(facts, dict) else fact
