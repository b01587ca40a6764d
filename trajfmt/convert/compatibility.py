"""Check whether a source may be appended to an existing bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from trajfmt.bundle.writer import BundleWriter
from trajfmt.convert.identify import Identity
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.table import encoder_for, encoding_of_path
from trajfmt.errors import UsageError, display
from trajfmt.schema.layout import ParamLayout

__all__ = ["check_append"]


def check_append(
    writer: BundleWriter, identity: Identity, options: ConvertOptions, target: Path
) -> list[str]:
    """Require that a source agrees with the bundle it is appended to.

    A manifest has one parameter layout and one provenance for all trajectories, so trajectories that differ
    in them must not share a bundle. Facts that the bundle does not know are taken from the source.

    Args:
        writer: the writer of the bundle.
        identity: the facts about the source.
        options: the options of the conversion.
        target: path of the bundle.

    Returns:
        Remarks for the user.

    Raises:
        UsageError: source or options contradict the bundle.
    """
    name_of = display(target)
    new, old = identity.provenance, writer.provenance
    source, stored = identity.layout, writer.layout
    if source.dtype != stored.dtype and source.cast(stored.dtype).parameters == stored.parameters:
        raise UsageError(
            f"{name_of}: the bundle stores {stored.dtype}, but the source has {source.dtype}; pass --dtype"
            f" {stored.dtype.lower()}"
        )
    if source.parameters != stored.parameters:
        same = {each.name: each.shape for each in source.parameters}
        ordered = same == {each.name: each.shape for each in stored.parameters}
        raise UsageError(
            f"{name_of}: the bundle holds the same parameters in another order than the source"
            f" ({_first_difference(source, stored)}); convert it into a bundle of its own"
            if ordered
            else f"{name_of}: the bundle holds another network or other parameter names than the source"
        )
    encoding = encoding_of_path(target).name
    asked = encoder_for(encoding, options.writing(identity.cast), identity.layout)
    plain = encoder_for(encoding, Options(), identity.layout)
    if asked not in (plain, writer.encoder):
        raise UsageError(
            f"{name_of}: the bundle was made with {writer.encoder.settings}, not {asked.settings};"
            " omit the options"
        )
    if options.layers != "tensor" and identity.layout.layers != writer.layout.layers:
        raise UsageError(
            f"{name_of}: the bundle has other layers than `--layers {options.layers}`; omit the option"
        )
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
    if identity.numbered and old.timestep and not new.timestep:
        kind = old.timestep.kind
        raise UsageError(
            f"{name_of}: its timesteps are {kind}s, but nothing says what the numbers of the source count; if"
            f" they are {kind}s, say so with {{{kind}}} in the place of the number, as in --select"
            f" 'net_{{{kind}}}.pt'; if not, convert it into a bundle of its own"
        )
    if identity.numbered:  # the numbers are recorded
        pass
    elif new.timestep and old.timestep and new.timestep.every != old.timestep.every:
        raise UsageError(
            f"{name_of}: its timesteps are {old.timestep.every} {old.timestep.kind}s apart, the source's are"
            f" {new.timestep.every} apart"
        )
    elif (new.first_timestep or 0) != (old.first_timestep or 0):
        raise UsageError(
            f"{name_of}: its trajectories begin at timestep {old.first_timestep or 0} of their sources,"
            f" but these would begin at timestep {new.first_timestep or 0}"
        )
    unknown = {name: fact for name, fact in facts.items() if getattr(old, name) is None}
    writer.provenance = msgspec.structs.replace(old, **unknown)
    if new.timestep and not old.timestep:
        return [
            "the bundle does not say what its timesteps are, so it is not recorded that those of the source"
            f" are {new.timestep.kind}s"
        ]
    if old.timestep and not new.timestep:
        return [
            f"nothing says how far apart the timesteps of the source are; {old.timestep.every}"
            f" {old.timestep.kind}(s) are recorded, as for the others of the bundle (--from names the layout)"
        ]
    return []


def _first_difference(source: ParamLayout, stored: ParamLayout) -> str:
    """Return the first parameter of a source and of a bundle that have different names."""
    pairs = zip(source.parameters, stored.parameters, strict=True)
    ours, theirs = next((a.name, b.name) for a, b in pairs if a.name != b.name)
    return f"its `{display(theirs)}` is where the source has `{display(ours)}`"


def _short(fact: object) -> object:
    """Return a short text of a fact in the provenance, for messages."""
    facts = msgspec.to_builtins(fact)
    return " ".join(f"{key} {value}" for key, value in facts.items()) if isinstance(facts, dict) else fact
