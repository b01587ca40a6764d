"""Plan a conversion: find out what it would write, without reading weights."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from trajfmt.bundle.reader import read_manifest
from trajfmt.codecs.table import DEFAULT
from trajfmt.convert.compatibility import check_append
from trajfmt.convert.intake import Intake, Prepared, check_destination, located_error
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.placing import provisional
from trajfmt.encodings.table import ENCODINGS, encoding_of_path
from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.schema.parse import parse
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.address import Address, local, located

__all__ = ["Plan", "PlannedFile", "plan"]


class PlannedFile(NamedTuple):
    """A source file in a plan."""

    name: str
    trajectories: int
    """Number of trajectories that would be converted."""

    also: tuple[str, ...] = ()
    """Further files that contribute to the same trajectories, such as the other half of a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a conversion would write."""

    encoding: str
    timesteps: tuple[int, ...]
    """Number of timesteps of each trajectory, T + 1."""

    layout: ParamLayout
    provenance: Provenance
    source_bytes: int
    """Size of the source files in bytes."""

    bytes: int
    """Estimated size of the bundle in bytes: all its files and the manifest, before compression, and without
    module buffers."""

    codec: str | None
    """The codec that makes it smaller than that; None if nothing is compressed."""

    recognised: str
    """File layout of the source, and how it was recognised."""

    files: tuple[PlannedFile, ...]
    """The source files that can be opened."""

    notices: tuple[str, ...]
    """Messages about the source."""

    skipped: tuple[str, ...]
    """Messages about files and trajectories that would be skipped."""

    @property
    def trajectories(self) -> int:
        """Return the number of trajectories."""
        return len(self.timesteps)


def plan(
    source: str | os.PathLike[str] | Address,
    destination: str | os.PathLike[str] | None = None,
    options: ConvertOptions | None = None,
) -> Plan:
    """Find out what `convert` would write, without reading weights.

    Args:
        source: the source, as for `convert`.
        destination: the bundle, as for `convert`; None to plan a `.mct` without a path.
        options: the options of the conversion.

    Raises:
        TrajfmtError: `convert` would fail, as far as that is known without weights.
    """
    options = options or ConvertOptions()
    encoding, target = ENCODINGS["convex"], Path()
    if destination is not None:
        target = local(destination)
        encoding = encoding_of_path(target)
        check_destination(target, options, source)
    place = options.place
    if place:
        options = provisional(options)
    intake = Intake(located(source), encoding, options)
    collection = intake.collection
    notices: list[str] = list(collection.notices)
    if place:
        notices.append(f"where the {place} knots are follows from the weights, which a plan does not read")
    if collection.repeats:
        notices.append(
            "this codebase saves some trajectories more than once; the plan counts them, but a conversion"
            " skips them"
        )
    skipped = list(intake.unusable)
    timesteps: list[int] = []
    size = 0
    files: list[PlannedFile] = []
    for part in intake.parts.values():
        before = len(timesteps)
        for number, trajectory in enumerate(intake.open(part, notices.append)):
            try:
                prepared = intake.prepare(trajectory, notices.append)
            except (SourceError, CorruptError) as exc:
                error = located_error(exc, part, number)
                if not options.keep_going:
                    raise error from exc
                skipped.append(str(error))
                continue
            if options.append and not timesteps:
                notices += _remarks_on_append(target, intake, prepared)
            timesteps.append(prepared.source.timesteps)
            size += prepared.encoder.size(prepared.source, prepared.layout)
        also = tuple(path.name for path in part.also)
        files.append(PlannedFile(part.path.name, len(timesteps) - before, also))
    if intake.identity is None:
        why = f"; the first problem: {skipped[0]}" if skipped else ""
        raise SourceError(
            "nothing_to_convert", f"no trajectory can be converted{why}", path=collection.folder
        )
    return Plan(
        encoding=encoding.name,
        timesteps=tuple(timesteps),
        layout=intake.identity.layout,
        provenance=intake.identity.provenance,
        source_bytes=sum(part.nbytes for part in intake.parts.values()),
        bytes=size + _common(encoding.name, intake.identity.layout, intake.identity.provenance),
        codec=None if options.codec == DEFAULT else options.codec,
        recognised=f"{collection.layout_name}: {collection.recognised}",
        files=tuple(files),
        notices=tuple(notices),
        skipped=tuple(skipped),
    )


_OTHER: Final = {"convex": 6400, "full": 600}
"""Bytes of a bundle besides parameters, facts and trajectories: of its manifest, and of the file of tables;
about, as measured."""


def _common(encoding: str, layout: ParamLayout, provenance: Provenance) -> int:
    """Return about how many bytes a bundle takes for what all trajectories have in common."""
    return _OTHER[encoding] + sum(
        len(msgspec.json.encode(part)) for part in (layout.parameters, layout.layers, provenance)
    )


def _remarks_on_append(target: Path, intake: Intake, prepared: Prepared) -> list[str]:
    """Return what an append of a source to a bundle tells the user.

    Raises:
        UsageError: source or options contradict the bundle.
    """
    assert intake.identity is not None
    base = parse(read_manifest(target), path=target / FILE_NAME)
    identity = dataclasses.replace(intake.identity, layout=prepared.layout)
    return check_append(base, identity, prepared.source, intake.options, target).remarks
