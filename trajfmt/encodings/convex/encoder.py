"""The settings of the encoding `convex`, and writing a trajectory with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from trajfmt.encodings.convex import writer
from trajfmt.encodings.parts.encoding import Input, Options, Sized, require_two_timesteps
from trajfmt.encodings.parts.knots import cut, header, index_of
from trajfmt.encodings.parts.shards import KnotWriter, Shard
from trajfmt.encodings.parts.written import NewFile, Written, recorded, with_numbers_and_buffers
from trajfmt.errors import SourceError, UsageError, no_motion
from trajfmt.schema.arguments import whole, wholes
from trajfmt.schema.consistency import MAX_TABLE
from trajfmt.schema.facts import AVERAGED, averaged
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ConvexEntry, ConvexManifest, ShardEntry, TableEntry
from trajfmt.trajectory.averaging import check_average, check_length
from trajfmt.trajectory.beta import check_knots
from trajfmt.trajectory.measure import GRAM_LIMIT
from trajfmt.trajectory.recorder import Recorded
from trajfmt.trajectory.source import Convexified

__all__ = ["ConvexEncoder", "continued", "encoder"]

_TABLES: Final = 3700
"""Bytes of an HDF5 file for the group of a trajectory, besides its arrays; about, as measured."""

_GRAM: Final = 1000
"""Bytes that a Gram matrix adds to it, besides its elements and the labels of its second axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvexEncoder:
    """Write trajectories as knots and betas.

    See `trajfmt.encodings.parts.encoding.Encoder` for the interface.
    """

    inserted: tuple[int, ...]
    """Timesteps of the inserted waypoints."""

    smoothed: bool = False
    """Whether inserted waypoints and the last timestep are averaged with their neighbours."""

    average: int = 1
    """Number of timesteps of which every knot but the first is the mean."""

    gram: bool = False
    """Whether to store the Gram matrix if T <= 256."""

    reach: int | None = dataclasses.field(default=None, compare=False)
    """Last timestep of the trajectory whose waypoints `inserted` are; None if they were asked for."""

    shard_bytes: int = dataclasses.field(compare=False)
    """Largest size of a knot file in bytes."""

    cast: bool = dataclasses.field(compare=False)
    """Whether to accept weights of other float types and round them to the type of the parameter layout."""

    @property
    def settings(self) -> str:
        """Return a description of the settings, for messages."""
        knots = f"knots {','.join(map(str, self.inserted))}" if self.inserted else "two endpoints"
        smoothed = ", smoothed" if self.smoothed and self.inserted else ""
        means = f", means of {self.average} timesteps" if self.average > 1 else ""
        return knots + smoothed + means + (", Gram matrix" if self.gram else "")

    @property
    def features(self) -> list[str]:
        """Return no features: every reader knows this encoding."""
        return []

    def with_smoothed(self, smoothed: bool) -> ConvexEncoder:
        """Return the settings with another value of `smoothed`."""
        return dataclasses.replace(self, smoothed=smoothed)

    def check(self, source: Sized) -> None:
        """Require at least two timesteps, and inserted waypoints that lie between the endpoints.

        Raises:
            SourceError: the trajectory is too short.
        """
        require_two_timesteps(source)
        last = source.timesteps - 1
        if self.inserted and self.inserted[-1] >= last and not isinstance(source, (Convexified, Recorded)):
            raise SourceError(
                "too_few_timesteps",
                f"inserted waypoints must lie between 0 and T = {last} of the trajectory,"
                f" got {self.inserted}",
            )
        if not isinstance(source, (Convexified, Recorded)):
            check_length(source.timesteps, self.inserted, self.average)

    def write(self, new_path: Callable[[], Path], source: Input, layout: ParamLayout) -> Written:
        """Write the knots of a trajectory and their module buffers.

        A trajectory that is convexified already keeps its own knots and tables. One that was recorded, and
        ended early, lacks the waypoints after its end.

        Args:
            new_path: returns the path of a new file.
            source: the trajectory.
            layout: the parameter layout, in the type that is stored.

        Raises:
            SourceError: the trajectory must not be converted; `reason` says why.
            UsageError: a recorded trajectory has other settings, the source does not fit the layout, or its
                table would be too large.
        """
        if source.timesteps * layout.num_layers > MAX_TABLE:
            raise UsageError(
                f"a table must have at most {MAX_TABLE} elements, got {source.timesteps} timesteps of"
                f" {layout.num_layers} layers; use fewer layers, or keep every n-th timestep"
            )
        given = source if isinstance(source, Convexified) else None
        done = source if isinstance(source, (Convexified, Recorded)) else None
        knots = (0, *self.inserted, source.timesteps - 1) if done is None else done.knots
        contents = cut(layout, len(knots), self.shard_bytes)
        with KnotWriter(layout, knots, [(new_path(), content) for content in contents]) as files:
            if isinstance(source, Recorded):
                self._require_same_settings(source)
                pass_ = writer.write_recorded(files, source, layout)
            elif isinstance(source, Convexified):
                pass_ = writer.write_convexified(files, source, layout, cast=self.cast)
            else:
                pass_ = writer.write(
                    files,
                    source,
                    layout,
                    knots,
                    smooth=self.smoothed,
                    average=self.average,
                    gram=self.gram,
                    cast=self.cast,
                )
        if not pass_.moves:
            raise no_motion()
        entry = ConvexEntry(
            timesteps=source.timesteps,
            knots=list(knots),
            table=TableEntry(file="", u=0, free=given is not None and given.free),
            digest=pass_.digest,
        )
        new, entry = _files_and_entry(files.shards, entry)

        def index(names: Sequence[str]) -> bytes:
            """Return Hugging Face's index of the knot files, given their names in the bundle."""
            files = [name.rpartition("/")[2] for name in names]
            return index_of(layout, knots, list(zip(files, contents, strict=True)))

        written = Written(
            entry,
            new,
            pass_.tables,
            index=index if len(contents) > 1 else None,
            smoothed=self.smoothed if done is None else done.smoothed,
            rounding=pass_.rounding,
        )
        return with_numbers_and_buffers(written, new_path, source, knots)

    def _require_same_settings(self, recorded: Recorded) -> None:
        """Require that a recorded trajectory has the waypoints of the bundle, as far as both go.

        Raises:
            UsageError: it has others, or other settings.
        """
        end = min(recorded.knots[-1], self.reach or recorded.knots[-1])
        ours, theirs = (tuple(t for t in own if t < end) for own in (self.inserted, recorded.knots[1:-1]))
        other = bool(theirs) and recorded.smoothed != self.smoothed
        other |= recorded.averaged != min(self.average, max(1, recorded.timesteps - 1))
        if ours != theirs or other or self.gram:
            told = dataclasses.replace(
                self,
                inserted=recorded.knots[1:-1],
                smoothed=recorded.smoothed,
                average=recorded.averaged,
                gram=False,
            )
            raise UsageError(
                f"the bundle has {self.settings}, but the trajectory was recorded with {told.settings}"
            )

    def manifest(self, common: dict[str, Any]) -> ConvexManifest:
        """Return a manifest with the fields in `common`. The recipe says whether knots are means."""
        if self.average > 1:
            about = common["provenance"]
            recipe = {**(about.recipe or {}), AVERAGED: self.average}
            common = {**common, "provenance": msgspec.structs.replace(about, recipe=recipe)}
        return ConvexManifest(**common, smoothed=self.smoothed)

    def size(self, source: Sized, layout: ParamLayout) -> int:
        """Estimate the bytes of knots, tables, digests and the entry of a trajectory."""
        last = source.timesteps - 1
        knots = source.knots if isinstance(source, Convexified) else (0, *self.inserted, last)
        contents = cut(layout, len(knots), self.shard_bytes)
        heads = sum(len(header(layout, knots, content)) for content in contents)
        gram = (last + 1) * (last + 2) if self.gram and last <= GRAM_LIMIT else 0
        tables = 8 * ((2 * last + 1) * layout.num_layers + gram + 2 * last + 1) + _TABLES
        tables += layout.num_layers * max(len(layer.name) for layer in layout.layers)  # labels of an axis
        tables += _GRAM if gram else 0
        return len(knots) * layout.nbytes + heads + tables + recorded(len(knots), layout, files=len(contents))


def _files_and_entry(shards: Sequence[Shard], entry: ConvexEntry) -> tuple[tuple[NewFile, ...], ConvexEntry]:
    """Return the knot files, and the entry with the position of the knots filled in."""
    if len(shards) == 1:
        new = (NewFile(shards[0].path, "knots", ".safetensors"),)
        return new, msgspec.structs.replace(entry, file="", data=shards[0].data)
    tails = [f"-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    held = [ShardEntry(file="", data=shard.data, tensors=shard.byte_range.tensors) for shard in shards]
    files = tuple(NewFile(shard.path, "knots", tail) for shard, tail in zip(shards, tails, strict=True))
    return files, msgspec.structs.replace(entry, shards=held)


def encoder(options: Options, _layout: ParamLayout) -> ConvexEncoder:
    """Return the settings for a new bundle.

    Raises:
        UsageError: the options contradict each other, or one of them is invalid.
    """
    given = wholes("knots", options.knots)
    inserted = check_knots((0, *given), given[-1])[1:] if given else ()
    if whole("shard_bytes", options.shard_bytes) < 1:
        raise UsageError(f"`shard_bytes` must be 1 or more, got {options.shard_bytes}")
    if options.smooth and not inserted:
        raise UsageError("smoothing needs inserted waypoints; with two endpoints both stay exact")
    return ConvexEncoder(
        inserted=tuple(inserted),
        smoothed=options.smooth,
        average=check_average(options.average, inserted=inserted, smooth=options.smooth),
        gram=options.gram,
        shard_bytes=options.shard_bytes,
        cast=options.cast,
    )


def continued(manifest: ConvexManifest, options: Options) -> ConvexEncoder:
    """Return the settings for appending to a bundle, with the inserted waypoints of its first trajectory."""
    first = manifest.trajectories[0] if manifest.trajectories else None
    return ConvexEncoder(
        inserted=tuple(first.knots[1:-1]) if first else (),
        smoothed=manifest.smoothed,
        average=averaged(manifest.provenance),
        reach=first.knots[-1] if first else None,
        gram=first is not None and first.table.gram is not None,
        shard_bytes=options.shard_bytes,
        cast=options.cast,
    )
