"""The pass over a source that `plan` and `convert` share, so that a plan agrees with the conversion.

The pass opens the source, identifies it, checks each trajectory, and selects timesteps. It does not read
weights.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from trajfmt.bundle.reader import read_manifest
from trajfmt.convert.choices import remark_on_means, require_epochs, with_choices
from trajfmt.convert.convexified import check_convexified, keeps_knots, remarks_on, with_origin
from trajfmt.convert.hashing import check_names
from trajfmt.convert.identify import Identity, identify
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.selection import Bounds, Window, remark_on_numbers, selected, too_short
from trajfmt.encodings.parts.discrete import Discretised
from trajfmt.encodings.parts.encoding import Encoder, Encoding
from trajfmt.encodings.table import encoder_for
from trajfmt.errors import (
    CorruptError,
    ExistsError,
    MissingDependencyError,
    SourceError,
    TrajfmtError,
    UsageError,
    counted,
    display,
)
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import MAX_TIMESTEPS
from trajfmt.sources.base.collection import Collection, Part
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.convexified.mct_betas import PairTrajectory
from trajfmt.sources.discovery import open_source
from trajfmt.storage.address import Address, Place, located
from trajfmt.storage.staging import Staging
from trajfmt.storage.writing import occupied
from trajfmt.trajectory.source import Convexified

__all__ = ["Intake", "Prepared", "check_destination", "located_error"]


class Prepared(NamedTuple):
    """A trajectory of a source that is ready to be written."""

    source: Window | Convexified | Discretised
    first: int
    """Timestep of the source that becomes t = 0."""

    layout: ParamLayout
    """The parameter layout, in the type that will be stored."""

    encoder: Encoder
    """The settings of the encoding."""


class Intake:
    """One pass over the trajectories of a source.

    Args:
        source: path or address of the source.
        encoding: the encoding of the bundle to write.
        options: the options of the conversion.
        scratch: folder for temporary files; None for the folder of the source.

    Raises:
        TrajfmtError: the source cannot be opened, or the options do not apply to it.
    """

    def __init__(
        self, source: Place, encoding: Encoding, options: ConvertOptions, scratch: Path | None = None
    ) -> None:
        self._encoding = encoding
        self.options: ConvertOptions = options
        """The options as they apply to the source."""
        self._stop = threading.Event()
        self._encoder: Encoder | None = None
        self._shortest = MAX_TIMESTEPS + 1
        self.collection: Collection = _opened(source, options, keep_going=options.keep_going)
        self.listed: Sequence[Part] = _listed(source, options, self.collection)
        """The parts of the source as they are without `keep_going`, if it can be opened so."""
        self._stated_smoothed = False
        if self.collection.convex and encoding.takes_convexified:
            check_convexified(self.collection, options)
            self._stated_smoothed = options.smooth
            self.options = dataclasses.replace(options, smooth=False)
        self.scratch: Path = self.collection.folder if scratch is None else scratch
        self.parts: dict[int, Part]
        """The parts of the source that can be opened, by number."""
        self.unusable: list[str]
        """Messages about the parts that cannot be opened."""
        self._remarked: set[str] = set()
        self.parts, self.unusable = _usable(self.collection, options, self.scratch)
        check_names(self.parts.values())
        self.identity: Identity | None = None
        """The facts about the source; None before the first valid trajectory."""

    def open(self, part: Part, notice: Callable[[str], None]) -> Sequence[ForeignTrajectory]:
        """Return the trajectories of a part of the source. If it has none, a message says so."""
        trajectories = part.open(self.scratch)
        if not len(trajectories):
            notice(f"{display(part.path.name)} holds no trajectory")
        return trajectories

    def prepare(self, trajectory: ForeignTrajectory, notice: Callable[[str], None]) -> Prepared:
        """Check a trajectory, and return it in the form that a writer accepts.

        After a call of `stop`, reading the waypoints of the result raises `CancelledError`.

        Args:
            trajectory: a trajectory of the source.
            notice: called with messages about the source, when the first trajectory is identified, and with
                remarks on this one that no other has had.

        Raises:
            SourceError: the trajectory must not be converted, or the options select too few timesteps.
            UsageError: the options do not apply to the trajectory.
        """
        trajectory.check()
        if self._stated_smoothed and isinstance(trajectory, PairTrajectory):
            trajectory.state_smoothed()
        if self.identity is None:
            found = identify(self.collection, trajectory, self.options, notice)
            # Of a bundle, some trajectories may record numbers and others not.
            numbered = found.numbered and all(getattr(part, "numbered", True) for part in self.parts.values())
            provenance = with_origin(found.provenance, trajectory, self._encoding)
            provenance = with_choices(provenance, self.options, kept=keeps_knots(trajectory, self._encoding))
            self.identity = dataclasses.replace(found, numbered=numbered, provenance=provenance)
        identity = self.identity
        identity.check(trajectory)
        layout = self._stored_layout(identity, trajectory)
        if self._encoder is None:
            for text in remarks_on(trajectory, self._encoding):
                notice(text)
            if not isinstance(trajectory, Convexified):
                self._remark(remark_on_means(self.options, trajectory.buffers(0)), notice)
            self._encoder = encoder_for(self._encoding.name, self.options.writing(identity.cast), layout)
        for text in trajectory.remarks:
            self._remark(text, notice)
        if self.options.cut_for is not None:
            require_epochs(identity.provenance, trajectory.numbers)
        bounds = self.options.timesteps
        source, first = self._cut(trajectory, bounds, identity, layout)
        if bounds[1] is not None and trajectory.timesteps < bounds[1]:
            if self.options.cut_for is not None:
                raise too_short(trajectory.timesteps, bounds[1], self.options.cut_for)
            if trajectory.timesteps < self._shortest:
                self._shortest = trajectory.timesteps
                notice(
                    f"some trajectories have only {counted(self._shortest, 'timestep')}, but"
                    f" {bounds[1]} were requested"
                )
        self._encoder.check(source)
        if trajectory.numbers is not None:
            unit = identity.provenance.timestep.kind if identity.provenance.timestep else "number"
            kept = range(first, first + source.timesteps)
            self._remark(remark_on_numbers(trajectory.numbers, unit, kept, self.options.knots), notice)
        return Prepared(source, first, layout, self._encoder)

    def _remark(self, text: str | None, notice: Callable[[str], None]) -> None:
        """Give notice of a remark that no other trajectory has had."""
        if text is not None and text not in self._remarked:
            self._remarked.add(text)
            notice(text)

    def stop(self) -> None:
        """Make all further reads of prepared trajectories raise `CancelledError`."""
        self._stop.set()

    def _stored_layout(self, identity: Identity, trajectory: ForeignTrajectory) -> ParamLayout:
        """Return the parameter layout to store. Convexified trajectories of a bundle keep their layers."""
        given = self.collection.layout
        if given is None or not isinstance(trajectory, Convexified) or not self._encoding.takes_convexified:
            return identity.layout
        return given.cast(identity.dtype)

    def _cut(
        self, trajectory: ForeignTrajectory, bounds: Bounds, identity: Identity, layout: ParamLayout
    ) -> tuple[Window | Convexified | Discretised, int]:
        """Return the selected timesteps of a trajectory, and the number of the first.

        Raises:
            SourceError: fewer than two timesteps are selected.
            UsageError: timesteps are selected from a convexified trajectory that keeps its knots.
        """
        if not isinstance(trajectory, Convexified):
            # Numbers that follow from the provenance of this source may not follow from that of the bundle.
            numbered = self.options.append
            window = Window(trajectory, bounds, identity.provenance, self._stop, numbered=numbered)
            return window, window.first
        if self._encoding.takes_convexified:
            if bounds != (None, None):
                raise UsageError(
                    "the source is convexified already, and timesteps cannot be removed; omit"
                    f" {'--timesteps' if self.options.cut_for is None else '--for-preset'}"
                )
            return trajectory, 0
        chosen = selected(trajectory.timesteps, bounds)
        given = self.collection.layout
        columns = None if given is None else given.layer_of_parameter  # u has the layers of the source
        source = Discretised(trajectory, layout, chosen, cast=identity.cast, columns=columns)
        return source, chosen.start


def _opened(source: Place, options: ConvertOptions, *, keep_going: bool) -> Collection:
    return open_source(
        source,
        layout=options.layout,
        trust_pickle=options.trust_pickle,
        keep_going=keep_going,
        buffers=options.buffers,
        buffer_names=options.buffer_names,
        key=options.key,
        select=options.select,
    )


def _listed(source: Place, options: ConvertOptions, collection: Collection) -> Sequence[Part]:
    """Return the parts of a source with all their files, those included that `keep_going` leaves out."""
    if not options.keep_going:
        return collection.parts
    try:
        return _opened(source, options, keep_going=False).parts
    except TrajfmtError:  # no run without `keep_going` can have begun
        return collection.parts


def check_destination(
    target: Path, options: ConvertOptions, source: str | os.PathLike[str] | Address
) -> None:
    """Check a destination before any work is done.

    Args:
        target: path of the bundle to write.
        options: the options of the conversion.
        source: the source, as for `convert`.

    Raises:
        ExistsError: something exists at `target`, and `append` was not given.
        UsageError: the parent folder does not exist, or `target` is the source.
        TrajfmtError: `append` was given, and `target` is not a bundle.
    """
    if options.append:
        read_manifest(target)
        place = located(source)
        if isinstance(place, Path) and os.path.realpath(place) == os.path.realpath(target):
            raise UsageError(
                f"{display(target)}: cannot be appended to itself; it has its trajectories already"
            )
    elif not target.absolute().parent.is_dir():
        raise UsageError(f"{display(target.absolute().parent)}: no such folder; create it first")
    elif occupied(target):
        Staging.sweep(target)
        raise ExistsError(
            f"{display(target)} already exists; choose another name, remove it, or pass --append"
        )


def located_error(exc: SourceError | CorruptError, part: Part, index: int) -> SourceError | CorruptError:
    """Return an error with the same reason whose message names the file and the trajectory."""
    return type(exc)(exc.reason, f"trajectory {index}: {exc.message}", path=exc.path or part.path)


def _usable(
    collection: Collection, options: ConvertOptions, scratch: Path
) -> tuple[dict[int, Part], list[str]]:
    """Try to open every part of a source, if `keep_going` is given.

    Returns:
        The parts that can be opened, by number, and messages about the others. Without `keep_going`, all
        parts, which are not opened yet.

    Raises:
        TrajfmtError: no part can be opened. This is the error of the first part.
    """
    if not options.keep_going:
        return dict(enumerate(collection.parts)), []
    found: dict[int, Part] = {}
    problems: list[TrajfmtError] = []
    for number, part in enumerate(collection.parts):
        try:
            part.open(scratch)
        except MissingDependencyError:
            raise
        except TrajfmtError as exc:
            problems.append(exc)
        except OSError as exc:
            problems.append(UsageError(f"{display(part.path)}: cannot be read: {exc.strerror}"))
        else:
            found[number] = part
    if problems and not found:
        raise problems[0]
    return found, [str(problem) for problem in problems]
