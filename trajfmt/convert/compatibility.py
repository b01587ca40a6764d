"""Check whether a source may be appended to an existing bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trajfmt.bundle.agreement import unlike_buffers
from trajfmt.convert.identify import Identity, unknown
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.encoding import Options, Sized
from trajfmt.encodings.table import encoder_for, encoding_of_manifest, encoding_of_path
from trajfmt.errors import UsageError, counted, display
from trajfmt.schema.facts import AVERAGED, CHOICES, Name, Settled, settled
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ConvexManifest, Manifest, layout_of
from trajfmt.schema.provenance import Provenance, require_sound
from trajfmt.trajectory.source import Convexified, SupportsBuffers

__all__ = ["check_append"]

_STATED: Final[tuple[Name, ...]] = ("dataset", "model", "preprocessing")
"""The facts that options state."""


def check_append(
    base: Manifest, identity: Identity, source: Sized, options: ConvertOptions, target: Path
) -> Settled:
    """Require that a source agrees with the bundle it is appended to.

    A manifest has one parameter layout and one provenance for all trajectories, so trajectories that differ
    in them must not share a bundle.

    Args:
        base: the manifest of the bundle.
        identity: the facts about the source.
        source: its first trajectory, as it will be written.
        options: the options of the conversion.
        target: path of the bundle.

    Returns:
        The provenance of the bundle with both, and remarks for the user.

    Raises:
        UsageError: source or options contradict the bundle.
    """
    where = display(target)
    new, old = identity.provenance, base.provenance
    _require_same_parameters(identity.layout, layout_of(base), where)
    _require_same_name(base, target)
    _require_same_encoding(base, identity, source, options, where)
    _require_same_choice(old, new, where)
    stated = [name for name in _STATED if getattr(options, name) is not None]
    found = settled(old, new, stated, where)
    require_sound(found.provenance)
    _require_same_origin(old, new, where)
    remarks = _timesteps(old, new, where, numbered=identity.numbered)
    remarks += _knots(base, source) + _buffers(base, source)
    return Settled(found.provenance, found.remarks + remarks + unknown(found.provenance))


def _require_same_parameters(source: ParamLayout, stored: ParamLayout, where: str) -> None:
    """Require the same names, shapes, order and type of the parameters.

    Raises:
        UsageError: they differ.
    """
    if source.dtype != stored.dtype and source.cast(stored.dtype).parameters == stored.parameters:
        raise UsageError(
            f"{where}: the bundle stores {stored.dtype}, but the source has {source.dtype}; pass --dtype"
            f" {stored.dtype.lower()}"
        )
    if source.parameters == stored.parameters:
        return
    same = {each.name: each.shape for each in source.parameters}
    ordered = same == {each.name: each.shape for each in stored.parameters}
    raise UsageError(
        f"{where}: the bundle holds the same parameters in another order than the source"
        f" ({_first_difference(source, stored)}); convert it into a bundle of its own"
        if ordered
        else f"{where}: the bundle holds another network or other parameter names than the source"
    )


def _require_same_name(base: Manifest, target: Path) -> None:
    """Require that the name of a bundle ends as its encoding says.

    Raises:
        UsageError: it does not.
    """
    encoding, named = encoding_of_manifest(base), encoding_of_path(target)
    if encoding is not named:
        raise UsageError(
            f"{display(target)}: a bundle of {encoding.kind} trajectories whose name ends in {named.suffix};"
            f" rename it to end in {encoding.suffix}"
        )


def _require_same_encoding(
    base: Manifest, identity: Identity, source: Sized, options: ConvertOptions, where: str
) -> None:
    """Require that knots, smoothing, Gram matrix, codec and layers are those of the bundle, where given.

    Raises:
        UsageError: an option, or a convexified trajectory, has others.
    """
    encoding = encoding_of_manifest(base)
    existing = encoding.continued(base, Options())
    asked = encoder_for(encoding.name, options.writing(identity.cast), identity.layout)
    given = bool(options.knots or options.smooth or options.average > 1 or options.gram or options.codec)
    if given and asked != existing:
        raise UsageError(
            f"{where}: the bundle was made with {existing.settings}, not {asked.settings}; omit the options"
        )
    layers = layout_of(base).layers
    if options.layers is not None and identity.layout.layers != layers:
        raise UsageError(
            f"{where}: the bundle has other layers than `--layers {options.layers}`; omit the option"
        )
    if encoding.takes_convexified and isinstance(source, Convexified):
        if identity.layout.layers != layers:
            raise UsageError(
                f"{where}: the bundle has other layers than the source, which is convexified already; convert"
                " it into a bundle of its own"
            )
        if base.trajectories and source.smoothed != existing.smoothed:
            theirs, ours = (
                "smoothed" if each else "not smoothed" for each in (existing.smoothed, source.smoothed)
            )
            raise UsageError(
                f"{where}: its trajectories are {theirs}, those of the source {ours}; convert the source into"
                " a bundle of its own"
            )
    if isinstance(source, Convexified) or not encoding.takes_convexified:  # any other source is averaged now
        counts = [(about.recipe or {}).get(AVERAGED) for about in (base.provenance, identity.provenance)]
        if counts[0] != counts[1]:
            theirs, ours = ("no means" if n is None else f"means of {n} timesteps" for n in counts)
            raise UsageError(
                f"{where}: its knots are {theirs}, those of the source {ours}; convert the source into a"
                " bundle of its own"
            )


def _require_same_origin(old: Provenance, new: Provenance, where: str) -> None:
    """Require that both are experts of the same ablation, or of none, and both computed, or neither.

    Raises:
        UsageError: they differ.
    """
    ablations = [(about.recipe or {}).get("ablation") for about in (old, new)]
    if ablations[0] != ablations[1]:
        raise UsageError(
            f"{where}: its ablation is {ablations[0] or 'none'}, the source's is {ablations[1] or 'none'}"
        )
    computed = [bool((about.recipe or {}).get("convexified")) for about in (old, new)]
    if computed[0] != computed[1]:
        theirs, ours = (
            "computed from convexified ones" if each else "those of a training" for each in computed
        )
        raise UsageError(
            f"{where}: its timesteps are {theirs}, those of the source {ours}; convert the source into a"
            " bundle of its own"
        )


def _require_same_choice(old: Provenance, new: Provenance, where: str) -> None:
    """Require that the same option, or none, has chosen the weights of both.

    Weights that were taken without a choice may be others than those that were chosen, such as an average.

    Raises:
        UsageError: the choices differ, or only one of the two was chosen.
    """
    for choice, option in CHOICES.items():
        theirs, ours = ((about.recipe or {}).get(choice) for about in (old, new))
        if theirs != ours:
            raise UsageError(
                f"{where}: its weights {_taken(option, theirs)}, those of the source {_taken(option, ours)};"
                f" convert both with the same {option}, or the source into a bundle of its own"
            )


def _taken(option: str, chosen: object) -> str:
    return f"were taken without {option}" if chosen is None else f"were taken with {option} {display(chosen)}"


def _timesteps(old: Provenance, new: Provenance, where: str, *, numbered: bool) -> list[str]:
    """Require that timesteps count the same, and return remarks on what is not recorded of them.

    Args:
        old: the provenance of the bundle.
        new: that of the source.
        where: the bundle, for messages.
        numbered: whether the source has numbers for its timesteps.

    Raises:
        UsageError: they do not.
    """
    if new.timestep and old.timestep and new.timestep.kind != old.timestep.kind:
        raise UsageError(
            f"{where}: its timesteps are {old.timestep.kind}s, the source's are {new.timestep.kind}s"
        )
    if numbered and old.timestep and not new.timestep:
        kind = old.timestep.kind
        raise UsageError(
            f"{where}: its timesteps are {kind}s, but nothing says what the numbers of the source count; if"
            f" they are {kind}s, say so with {{{kind}}} in the place of the number, as in --select"
            f" 'net_{{{kind}}}.pt'; if not, convert it into a bundle of its own"
        )
    if numbered:  # the numbers are recorded
        pass
    elif new.timestep and old.timestep and new.timestep.every != old.timestep.every:
        raise UsageError(
            f"{where}: its timesteps are {old.timestep.every} {old.timestep.kind}s apart, the source's are"
            f" {new.timestep.every} apart"
        )
    elif (new.first_timestep or 0) != (old.first_timestep or 0):
        raise UsageError(
            f"{where}: its trajectories begin at timestep {old.first_timestep or 0} of their sources,"
            f" but these would begin at timestep {new.first_timestep or 0}"
        )
    if new.timestep and not old.timestep:
        return [
            "the bundle does not say what its timesteps are, so it is not recorded that those of the source"
            f" are {new.timestep.kind}s"
        ]
    if old.timestep and not new.timestep:
        return [
            "nothing says how far apart the timesteps of the source are; the distance of"
            f" {counted(old.timestep.every, old.timestep.kind)} is recorded, as for the others of"
            " the bundle (--from names the layout)"
        ]
    return []


def _knots(base: Manifest, source: Sized) -> list[str]:
    """Return a remark if a convexified trajectory has other knots than those of the bundle."""
    if not isinstance(base, ConvexManifest) or not isinstance(source, Convexified) or not base.trajectories:
        return []
    ours, theirs = list(source.knots), base.trajectories[0].knots
    if ours == theirs:
        return []
    return [
        f"the knots of the source ({_shortened(ours)}) are not those of the bundle ({_shortened(theirs)})"
    ]


def _buffers(base: Manifest, source: Sized) -> list[str]:
    """Return a remark if either the bundle or the source has module buffers, but not both."""
    has = isinstance(source, SupportsBuffers) and bool(source.buffers(0))
    remark = unlike_buffers(base, "those of the source have", has=has)
    return [] if remark is None else [remark]


def _shortened(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers[:6])) + (",…" if len(numbers) > 6 else "")


def _first_difference(source: ParamLayout, stored: ParamLayout) -> str:
    """Return the first parameter of a source and of a bundle that have different names."""
    pairs = zip(source.parameters, stored.parameters, strict=True)
    ours, theirs = next((a.name, b.name) for a, b in pairs if a.name != b.name)
    return f"its `{display(theirs)}` is where the source has `{display(ours)}`"
