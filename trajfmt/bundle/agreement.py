"""Whether what a program says about a trajectory agrees with the bundle that it is added to."""

from __future__ import annotations

from trajfmt.bundle.difference import Difference
from trajfmt.errors import UsageError, counted
from trajfmt.schema.facts import parts, phrase
from trajfmt.schema.manifest import ConvexManifest, Manifest
from trajfmt.schema.provenance import Provenance

__all__ = ["other_fact", "require_same_facts", "require_timestep", "unlike_buffers", "unlike_ends"]


def require_same_facts(where: str, known: Provenance, given: Provenance) -> None:
    """Require that a bundle states the facts about a trajectory that is added to it.

    Args:
        where: the bundle, for messages.
        known: the facts of the bundle.
        given: the facts about the trajectory.

    Raises:
        UsageError: the bundle states others, or fewer.
    """
    if (found := other_fact(known, given)) is not None:
        raise UsageError(
            f"{where}: its {found.name} is {found.one}, `provenance` says"
            f" {found.other}; choose another path, or leave `provenance` out if the bundle's facts hold"
        )


def other_fact(known: Provenance, given: Provenance) -> Difference | None:
    """Return the first fact that is given and that a bundle states otherwise, or not at all.

    Args:
        known: the facts of the bundle.
        given: the facts about a trajectory.
    """
    for name in ("dataset", "model", "preprocessing", "recipe", "timestep", "first_timestep"):
        ours, theirs = getattr(given, name), getattr(known, name)
        stated = parts(theirs)
        same = all(key in stated and stated[key] == value for key, value in parts(ours).items())
        if not same or (name == "timestep" and None is not ours != theirs):
            return Difference(name, phrase(theirs) or "unknown", phrase(ours))
    return None


def require_timestep(where: str, known: Provenance, every: int) -> None:
    """Require that timesteps which are several calls apart can be as far apart as the facts say.

    A call follows one training step or more, and as many each time. If timesteps are 5 steps apart, they
    cannot be 2 calls apart.

    Args:
        where: what states the facts, for messages.
        known: the facts.
        every: the number of calls from one timestep to the next.

    Raises:
        UsageError: they cannot.
    """
    unit = known.timestep
    if unit is not None and unit.kind == "step" and unit.every % every:
        raise UsageError(
            f"{where}: its timesteps are {counted(unit.every, 'step')} apart, which is no multiple"
            " of `every`,"
            f" {every}; record the same timesteps, or choose another path"
        )


def unlike_buffers(base: Manifest, added: str, *, has: bool) -> str | None:
    """Return a remark if either a bundle or what is added to it has module buffers, but not both.

    Args:
        base: the manifest of the bundle.
        added: what is added, for the remark, with a verb, such as `those of the source have`.
        has: whether what is added has module buffers.
    """
    count = len(base.trajectories)
    held = sum(entry.buffers is not None for entry in base.trajectories)
    if held == (count if has else 0):
        return None
    ours = "some" if has else "none"
    return f"{held} of {count} trajectories of the bundle have module buffers; {added} {ours}"


def unlike_ends(base: Manifest, added: Manifest) -> str | None:
    """Return a remark if the convexified paths of two bundles end at different timesteps.

    A path leads to its last knot, so that paths that end earlier follow the training more closely.

    Args:
        base: the manifest of the first bundle.
        added: the manifest of the other one, of which the remark is.

    Example:
        >>> import trajfmt
        >>> manifest = trajfmt.open("two.mct").manifest
        >>> unlike_ends(manifest, manifest) is None
        True
    """
    if not isinstance(base, ConvexManifest) or not isinstance(added, ConvexManifest):
        return None
    ours, theirs = (sorted({each.knots[-1] for each in one.trajectories}) for one in (base, added))
    if not ours or not theirs or ours == theirs:
        return None
    return f"its paths end at timestep {_span(theirs)}, others at {_span(ours)}"


def _span(values: list[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
