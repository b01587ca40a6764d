"""What a conversion would write, without reading weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from trajfmt.convert.identify import Identity, identify
from trajfmt.convert.options import ConvertOptions, check_destination, collect, encoding_of, placed, usable
from trajfmt.convert.selection import prepared
from trajfmt.encodings.encoder import Encoding, encoder_for
from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.address import Address, local, located
from trajfmt.trajectory.measure import GRAM_LIMIT
from trajfmt.trajectory.source import Convexified

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

    encoding: Encoding
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
    encoding: Encoding = "convex"
    if destination is not None:
        encoding = encoding_of(local(destination))
        check_destination(local(destination), options)
    collection = collect(located(source), encoding, options)
    notices: list[str] = list(collection.notices)
    if collection.repeats:
        notices.append(
            "trajectories that this code has saved again are counted; a conversion leaves them out"
        )
    skipped: list[str] = []
    identity: Identity | None = None
    timesteps: list[int] = []
    knots = 0
    parts, unusable = usable(collection, options, collection.folder)
    skipped += unusable
    files: list[PlannedFile] = []
    for part in parts.values():
        before = len(timesteps)
        for number, trajectory in enumerate(part.open(collection.folder)):
            try:
                trajectory.check()
                if identity is None:
                    identity = identify(collection, trajectory, options, notices.append)
                    encoder = encoder_for(
                        identity.layout,
                        encoding,
                        options.knots,
                        options.smooth,
                        options.codec,
                        options.gram,
                    )
                identity.check(trajectory)
                window, _ = prepared(
                    trajectory,
                    options.timesteps,
                    encoding=encoding,
                    layout=identity.layout,
                    provenance=identity.provenance,
                    cast=identity.cast,
                )
                encoder.check(window)
            except (SourceError, CorruptError) as exc:
                if not options.keep_going:
                    raise placed(exc, part, number) from exc
                skipped.append(str(placed(exc, part, number)))
                continue
            timesteps.append(window.timesteps)
            knots += len(window.knots) if isinstance(window, Convexified) else 2 + len(options.knots)
        also = tuple(path.name for path in part.also)
        files.append(PlannedFile(part.path.name, len(timesteps) - before, also))
    if identity is None:
        why = f"; the first: {skipped[0]}" if skipped else ""
        raise SourceError(
            "nothing_to_convert", f"no trajectory can be converted{why}", path=collection.folder
        )
    layout = identity.layout
    if encoding == "convex":
        tables = [
            2 * t * layout.num_layers + (t * t if options.gram and t <= GRAM_LIMIT + 1 else 0)
            for t in timesteps
        ]
        size = knots * layout.nbytes + 8 * sum(tables)
    else:
        size = sum(timesteps) * layout.nbytes
    return Plan(
        encoding=encoding,
        timesteps=tuple(timesteps),
        layout=layout,
        provenance=identity.provenance,
        source_bytes=sum(part.nbytes for part in parts.values()),
        bytes=size,
        recognised=f"{collection.layout_name}: {collection.recognised}",
        files=tuple(files),
        notices=tuple(notices),
        skipped=tuple(skipped),
    )
