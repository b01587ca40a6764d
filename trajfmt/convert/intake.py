"""How `plan` and `convert` take in a source: they open, check and identify it, and cut its trajectories.

Both make the same pass, so that a plan announces what a conversion does. Weights are not read here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trajfmt.bundle.reader import read_manifest
from trajfmt.convert.identify import Identity, identify
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.selection import Bounds, Window, selected
from trajfmt.encodings.parts.discrete import Discretised
from trajfmt.encodings.parts.encoding import Encoder, Encoding
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.encodings.table import encoder_for
from trajfmt.errors import (
    CorruptError,
    ExistsError,
    MissingDependencyError,
    SourceError,
    TrajfmtError,
    UsageError,
    display,
)
from trajfmt.schema.layout import ParamLayout
from trajfmt.sources.base.collection import Collection, ForeignTrajectory, Part
from trajfmt.sources.bundles import BundlePart
from trajfmt.sources.discovery import open_source
from trajfmt.storage.address import Place
from trajfmt.trajectory.source import Convexified

__all__ = ["Intake", "Prepared", "check_destination", "located_error"]


class Prepared(NamedTuple):
    """A trajectory of a source, ready to be written."""

    source: Window | Convexified | Discretised
    first: int
    """The number that its t = 0 has in the source."""

    layout: ParamLayout
    """The parameters as they are to be stored."""

    encoder: Encoder


class Intake:
    """One pass over the trajectories of a source.

    Args:
        source: where it is.
        encoding: what it is to become.
        options: what to make of it.
        scratch: a folder for temporary files; None for the one in which the source lies.

    Raises:
        TrajfmtError: the source cannot be opened, or the options do not fit it.
    """

    def __init__(
        self, source: Place, encoding: Encoding, options: ConvertOptions, scratch: Path | None = None
    ) -> None:
        self._encoding = encoding
        self._options = options
        self._stop = threading.Event()
        self._encoder: Encoder | None = None
        self.collection: Collection = open_source(
            source,
            layout=options.layout,
            trust_pickle=options.trust_pickle,
            keep_going=options.keep_going,
            buffers=options.buffers,
        )
        if self.collection.convex and encoding.takes_convexified:
            _check_convexified(self.collection, options)
        self.scratch: Path = self.collection.folder if scratch is None else scratch
        self.parts: dict[int, Part]
        """The files that can be opened, by number."""
        self.unusable: list[str]
        """Why others cannot."""
        self.parts, self.unusable = _usable(self.collection, options, self.scratch)
        self.identity: Identity | None = None
        """What the source is, once its first sound trajectory has been seen."""

    def prepare(self, trajectory: ForeignTrajectory, notice: Callable[[str], None]) -> Prepared:
        """Check a trajectory, and return what a writer takes of it.

        Once `stop` has been called, reading its waypoints raises `CancelledError`.

        Raises:
            SourceError: it must not be converted, or too few of its timesteps are wanted.
            UsageError: the options do not fit it.
        """
        trajectory.check()
        if self.identity is None:
            self.identity = identify(self.collection, trajectory, self._options, notice)
        identity = self.identity
        identity.check(trajectory)
        layout = self._stored_layout(identity, trajectory)
        if self._encoder is None:
            self._encoder = encoder_for(self._encoding.name, self._options.writing(identity.cast), layout)
        bounds = self._options.timesteps
        source, first = self._cut(trajectory, bounds, identity, layout)
        self._encoder.check(source)
        return Prepared(source, first, layout, self._encoder)

    def stop(self) -> None:
        """Have every reading of a prepared trajectory raise `CancelledError` from now on."""
        self._stop.set()

    def _stored_layout(self, identity: Identity, trajectory: ForeignTrajectory) -> ParamLayout:
        """Return the layout to store; convexified trajectories of a bundle keep its layers."""
        given = self.collection.layout
        if given is None or not isinstance(trajectory, Convexified) or not self._encoding.takes_convexified:
            return identity.layout
        return given.cast(identity.dtype)

    def _cut(
        self, trajectory: ForeignTrajectory, bounds: Bounds, identity: Identity, layout: ParamLayout
    ) -> tuple[Window | Convexified | Discretised, int]:
        """Return the wanted timesteps, or all that is convexified, and the number of the first."""
        if not isinstance(trajectory, Convexified):
            window = Window(trajectory, bounds, identity.provenance, self._stop)
            return window, window.first
        if self._encoding.takes_convexified:
            if bounds != (None, None):
                raise UsageError("convexified already: its knots cannot be cut; leave the timesteps out")
            return trajectory, 0
        chosen = selected(trajectory.timesteps, bounds)
        return Discretised(trajectory, layout, chosen, cast=identity.cast), chosen.start


def check_destination(target: Path, options: ConvertOptions) -> None:
    """Refuse what would overwrite something, and what cannot be written or added to.

    Raises:
        ExistsError: something is at `target` and is not to be appended to.
        UsageError: the folder for it does not exist.
        TrajfmtError: it is to be appended to and is no bundle.
    """
    if options.append:
        read_manifest(target)
    elif not target.absolute().parent.is_dir():
        raise UsageError(f"{display(target.absolute().parent)}: no such folder; create it first")
    elif os.path.lexists(target):
        raise ExistsError(
            f"{display(target)} already exists; choose another name, remove it, or give --append"
        )


def located_error(exc: SourceError | CorruptError, part: Part, index: int) -> SourceError | CorruptError:
    """Return the same error with the file and the trajectory named."""
    return type(exc)(exc.reason, f"trajectory {index}: {exc.message}", path=exc.path or part.path)


def _check_convexified(collection: Collection, options: ConvertOptions) -> None:
    """Refuse what waypoints would be needed for, and a mere copy of a bundle."""
    if options.knots or options.smooth or options.gram or options.layers != "tensor":
        raise UsageError(
            f"{display(collection.folder)}: convexified already, and its waypoints are gone;"
            " leave knots, smoothing, Gram matrix and layers as they are"
        )
    changes = options.dtype is not None or options.shard_bytes != SHARD_BYTES
    if not changes and any(isinstance(part, BundlePart) for part in collection.parts):
        raise UsageError(
            f"{display(collection.folder)}: convexified already; its waypoints are gone, so copy it instead"
        )


def _usable(
    collection: Collection, options: ConvertOptions, scratch: Path
) -> tuple[dict[int, Part], list[str]]:
    """Return the files that can be opened, and why others cannot; all of them unless `keep_going` is given.

    Raises:
        TrajfmtError: none can be opened; what the first one raises.
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
