"""What a conversion would write, without reading weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from trajfmt.convert.intake import Intake, check_destination, located_error
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.table import ENCODINGS, encoding_of_path
from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.address import Address, local, located

__all__ = ["Plan", "PlannedFile", "plan"]


class PlannedFile(NamedTuple):
    """A file of the source, and what would come of it."""

    name: str
    trajectories: int
    """How many would be converted."""

    also: tuple[str, ...] = ()
    """Further files that make the same trajectories, such as the other half of a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a conversion would write."""

    encoding: str
    timesteps: tuple[int, ...]
    """T + 1 of each trajectory."""

    layout: ParamLayout
    provenance: Provenance
    source_bytes: int
    bytes: int
    """Estimate of the bundle's size: exact but for compression and container overhead."""

    recognised: str
    """What the source is, and why."""

    files: tuple[PlannedFile, ...]
    """Those that can be opened."""

    notices: tuple[str, ...]
    skipped: tuple[str, ...]
    """Files and trajectories that are left out, and why."""

    @property
    def trajectories(self) -> int:
        """Return how many there would be."""
        return len(self.timesteps)


def plan(
    source: str | os.PathLike[str] | Address,
    destination: str | os.PathLike[str] | None = None,
    options: ConvertOptions | None = None,
) -> Plan:
    """Look at a source and tell what `convert` would write; weights are not read.

    Args:
        source: what `convert` takes.
        destination: what `convert` takes; None for a look at what a `.mct` would be.
        options: what to make of it.

    Raises:
        TrajfmtError: as `convert` would, as far as it can be known without the weights. Whether the source
            fits a bundle that it is to be appended to is only seen by `convert`.
    """
    options = options or ConvertOptions()
    encoding = ENCODINGS["convex"]
    if destination is not None:
        target = local(destination)
        encoding = encoding_of_path(target)
        check_destination(target, options)
    intake = Intake(located(source), encoding, options)
    collection = intake.collection
    notices: list[str] = list(collection.notices)
    if collection.repeats:
        notices.append(
            "trajectories that this code has saved again are counted; a conversion leaves them out"
        )
    skipped = list(intake.unusable)
    timesteps: list[int] = []
    size = 0
    files: list[PlannedFile] = []
    for part in intake.parts.values():
        before = len(timesteps)
        for number, trajectory in enumerate(part.open(intake.scratch)):
            try:
                prepared = intake.prepare(trajectory, notices.append)
            except (SourceError, CorruptError) as exc:
                error = located_error(exc, part, number)
                if not options.keep_going:
                    raise error from exc
                skipped.append(str(error))
                continue
            timesteps.append(prepared.source.timesteps)
            size += prepared.encoder.size(prepared.source, prepared.layout)
        also = tuple(path.name for path in part.also)
        files.append(PlannedFile(part.path.name, len(timesteps) - before, also))
    if intake.identity is None:
        why = f"; the first: {skipped[0]}" if skipped else ""
        raise SourceError(
            "nothing_to_convert", f"no trajectory can be converted{why}", path=collection.folder
        )
    return Plan(
        encoding=encoding.name,
        timesteps=tuple(timesteps),
        layout=intake.identity.layout,
        provenance=intake.identity.provenance,
        source_bytes=sum(part.nbytes for part in intake.parts.values()),
        bytes=size,
        recognised=f"{collection.layout_name}: {collection.recognised}",
        files=tuple(files),
        notices=tuple(notices),
        skipped=tuple(skipped),
    )
