"""What a conversion would write, without reading weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trajfmt.encoder import Encoding, encoder_for
from trajfmt.errors import CorruptError, SourceError
from trajfmt.identify import Identity, identify
from trajfmt.layout import ParamLayout
from trajfmt.manifest import Provenance
from trajfmt.measure import GRAM_LIMIT
from trajfmt.request import ConvertOptions, Window, check_destination, collect, encoding_of, placed

__all__ = ["Plan", "plan"]


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

    notices: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def trajectories(self) -> int:
        """Return how many there would be."""
        return len(self.timesteps)


def plan(
    source: str | os.PathLike[str],
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
        encoding = encoding_of(Path(destination))
        check_destination(Path(destination), options)
    collection = collect(Path(source), encoding, options)
    notices: list[str] = list(collection.notices)
    skipped: list[str] = []
    identity: Identity | None = None
    timesteps: list[int] = []
    for part in collection.parts:
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
                encoder.check(window := Window(trajectory, options.timesteps))
            except (SourceError, CorruptError) as exc:
                if not options.skip_bad:
                    raise placed(exc, part, number) from exc
                skipped.append(str(placed(exc, part, number)))
                continue
            timesteps.append(window.timesteps)
    if identity is None:
        raise SourceError("nothing_to_convert", "no trajectory can be converted", path=collection.folder)
    layout = identity.layout
    if encoding == "convex":
        knots = (2 + len(options.knots)) * layout.nbytes
        tables = [
            2 * t * layout.num_layers + (t * t if options.gram and t <= GRAM_LIMIT + 1 else 0)
            for t in timesteps
        ]
        size = knots * len(timesteps) + 8 * sum(tables)
    else:
        size = sum(timesteps) * layout.nbytes
    return Plan(
        encoding=encoding,
        timesteps=tuple(timesteps),
        layout=layout,
        provenance=identity.provenance,
        source_bytes=sum(part.nbytes for part in collection.parts),
        bytes=size,
        notices=tuple(notices),
        skipped=tuple(skipped),
    )
