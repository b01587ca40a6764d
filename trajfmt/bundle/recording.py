"""Where a recorded trajectory goes: refusals before the training, saving, and keeping it in another place.

A training that took days must not be lost by what it could not know: another process that is writing to the
bundle, a bundle that has been replaced, a disk that is full. `Destination.save` waits for the first, and
otherwise keeps the trajectory in a bundle of its own.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from trajfmt.bundle.agreement import require_same_facts, require_timestep, unlike_buffers
from trajfmt.bundle.create import BundleWriter, append, create
from trajfmt.bundle.numbering import numbering
from trajfmt.bundle.shortened import shortened
from trajfmt.bundle.standing import read_manifest
from trajfmt.encodings.parts import buffers
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.table import encoder_for, encoding_of_manifest
from trajfmt.errors import (
    ExistsError,
    LockedError,
    SourceError,
    UnsavedError,
    UsageError,
    WriteError,
    counted,
    display,
)
from trajfmt.notebooks import listed
from trajfmt.schema.arguments import wholes
from trajfmt.schema.consistency import MAX_TABLE
from trajfmt.schema.facts import averaged
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import FILE_NAME, MAX_TIMESTEPS, Manifest, layout_of, numbered
from trajfmt.schema.parse import parse
from trajfmt.schema.provenance import Provenance, require_sound
from trajfmt.storage.address import local
from trajfmt.trajectory.averaging import needed
from trajfmt.trajectory.recorder import Recorded

__all__ = ["Destination", "Saved"]

PATIENCE: Final = 60.0
"""Seconds to wait for another process that is writing to the bundle."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Saved:
    """A trajectory that was saved."""

    number: int
    """Its number in the bundle."""

    remarks: list[str]
    """What the user should know about it."""


class Destination:
    """The bundle that a recorded trajectory will be saved in: a new one, or the end of an existing one.

    Args:
        path: the `.mct` bundle. A relative path is that of the current folder, even if it changes later.
        layout: the parameter layout of the trajectory.
        knots: timesteps of the waypoints to insert.
        smooth: whether inserted waypoints and the last timestep are averaged with their neighbours.
        average: number of timesteps of which every knot but the first is the mean.
        every: the number of calls of a recorder from one timestep to the next.
        provenance: facts about the training; None: those of an existing bundle hold.

    Raises:
        UsageError: an argument is invalid, or the existing bundle has another network, encoding, layers,
            knots or facts.
        FormatError: what exists at `path` is no bundle, or damaged.
        WriteError: the bundle cannot be written.
        TypeError: a knot is no whole number, or the provenance is none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        layout: ParamLayout,
        *,
        knots: Sequence[int] = (),
        smooth: bool = False,
        average: int = 1,
        every: int = 1,
        provenance: Provenance | None = None,
    ) -> None:
        self.path: Path = local(path).absolute()
        if self.path.suffix != ".mct":
            raise UsageError(f"{path}: a recorder writes convexified trajectories; end the path in .mct")
        self.knots: tuple[int, ...] = wholes("knots", knots)
        self._layout, self._every = layout, every
        self._smooth, self._average = smooth, average
        self._provenance = provenance
        require_sound(provenance)
        if provenance is not None:
            require_timestep("`provenance`", provenance, every)
        encoder_for("convex", Options(knots=self.knots, smooth=smooth, average=average), layout)
        self.most: int = min(MAX_TIMESTEPS, MAX_TABLE // layout.num_layers)
        """The largest number of timesteps that a bundle holds of one trajectory."""
        if self.most < needed(self.knots, average):
            raise UsageError(
                f"a bundle holds at most {counted(self.most, 'timestep')} of {layout.num_layers} layers,"
                f" and the knots are {listed(self.knots)}; record every n-th timestep"
            )
        self._try()

    def moved(self, path: str | os.PathLike[str]) -> Destination:
        """Return a destination at another path, for the same trajectory."""
        return Destination(
            path,
            self._layout,
            knots=self.knots,
            smooth=self._smooth,
            average=self._average,
            every=self._every,
            provenance=self._provenance,
        )

    def require_buffers(self, held: Arrays) -> None:
        """Require that the module buffers of all knots fit into one file.

        Raises:
            FormatError: they do not.
        """
        buffers.header([(t, held) for t in (0, *self.knots, self.most)])

    def save(self, recorded: Recorded) -> Saved:
        """Write a trajectory to the bundle.

        If another process is writing to it, this waits for up to a minute. A trajectory that cannot be saved
        there is kept in a bundle of its own: beside the bundle, in the current folder, or in the folder for
        temporary files, whichever can be written first.

        Raises:
            SourceError: the weights never changed, or the bundle holds a trajectory with the same first and
                last weights and number of timesteps.
            UnsavedError: the trajectory is not in the bundle. The message says why, and where it is kept.
        """
        try:
            return self._save(recorded)
        except SourceError as exc:  # no bundle would take it, or it is there already
            exc.path = exc.path or str(self.path)
            raise
        except BaseException as exc:
            kept = self._keep(recorded)
            why = str(exc) or type(exc).__name__
            if isinstance(exc, OSError) and not isinstance(exc, WriteError):
                why = f"{display(self.path)}: cannot be written: {exc.strerror or exc}"
            if isinstance(exc, KeyboardInterrupt):
                raise KeyboardInterrupt(f"interrupted while saving; {self._told(kept)}") from exc
            error = UnsavedError(f"{why}; {self._told(kept)}")
            error.kept = None if kept is None else str(kept)
            raise error from exc

    def _told(self, kept: Path | None) -> str:
        if kept is None:
            return (
                "the trajectory could not be kept in another place either, but the recorder still holds it:"
                " call its method `save` with a path that can be written"
            )
        append = ["--append"] if os.path.lexists(self.path) else []
        command = shlex.join(["traj", "convert", str(kept), str(self.path), *append])
        return f"the trajectory is kept in {display(kept)}; when the cause is gone, add it with: {command}"

    def _save(self, recorded: Recorded) -> Saved:
        """Save a trajectory; if another process is writing to the bundle, try again for a while."""
        give_up, pause = time.monotonic() + PATIENCE, 0.05
        while True:
            exists = os.path.lexists(self.path)
            try:
                return self._append(recorded) if exists else self._create(recorded)
            except (LockedError, ExistsError) as exc:
                appeared = not exists and os.path.lexists(self.path)
                if isinstance(exc, ExistsError) and not appeared:
                    raise
                if time.monotonic() > give_up:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def _create(self, recorded: Recorded, path: Path | None = None) -> Saved:
        with self._new(path or self.path) as bundle:
            number = bundle.add(self._numbered(recorded, bundle.provenance))
        return Saved(number, self._remarks(recorded, number))

    def _numbered(self, recorded: Recorded, facts: Provenance) -> Recorded:
        """Return a trajectory whose numbers are calls of the recorder, unless facts say what they are."""
        if facts.timestep is not None or self._every == 1:
            return recorded
        first, last = (facts.first_timestep or 0, (facts.first_timestep or 0) + recorded.timesteps)
        return replace(recorded, numbers=tuple(range(first * self._every, last * self._every, self._every)))

    def _new(self, path: Path) -> BundleWriter:
        return create(
            path,
            self._layout,
            encoding="convex",
            provenance=self._provenance,
            knots=self.knots,
            smooth=self._smooth,
            average=self._average,
        )

    def _append(self, recorded: Recorded) -> Saved:
        with append(self.path) as bundle:
            assert bundle.base is not None
            self._require_fitting(bundle.base)
            has = bool(recorded.held and recorded.held[0])
            unlike = unlike_buffers(bundle.base, "the recorded network has", has=has)
            number = bundle.add(self._numbered(recorded, bundle.provenance))
            found = numbering(bundle.provenance, bundle.entries)
        remarks = [] if unlike is None else [f"{display(self.path)}: {unlike}"]
        if not found.alike:
            remarks.append(
                f"{display(self.path)}: its timesteps are {found.words}, so that the same timestep is another"
                " amount of training in each; record trainings with another `every` in bundles of their own"
            )
        return Saved(number, [*remarks, *self._remarks(recorded, number)])

    def _remarks(self, recorded: Recorded, number: int) -> list[str]:
        said = shortened(recorded, self.knots, self._average, number)
        return [f"{display(self.path)}: {text}" for text in said]

    def _keep(self, recorded: Recorded) -> Path | None:
        """Write a trajectory to a bundle of its own, and return its path; None if that is impossible."""
        for path in self._spares():
            with contextlib.suppress(Exception):
                self._create(recorded, path)
                return path
        return None

    def _spares(self) -> Iterator[Path]:
        """Yield free paths, in the order in which they are tried."""
        folders = [self.path.parent]
        for find in (os.getcwd, tempfile.gettempdir):
            with contextlib.suppress(OSError):  # the current folder is gone, or none can be written
                folders.append(Path(find()))
        for folder in dict.fromkeys(folders):
            names = (f"{self.path.stem}-unsaved{'' if n == 1 else f'-{n}'}.mct" for n in range(1, 10_000))
            yield next(path for name in names if not os.path.lexists(path := folder / name))

    def _try(self) -> None:
        """Refuse what can be refused now: by opening the bundle for writing, and closing it again.

        While another process is writing, this is not possible, and not an error.
        """
        try:
            if os.path.lexists(self.path):
                self._require_fitting(parse(read_manifest(self.path), path=self.path / FILE_NAME))
                folders = [self.path, *(each for each in self.path.iterdir() if each.is_dir())]
                for folder in folders:
                    if not os.access(folder, os.W_OK | os.X_OK):
                        raise WriteError(f"{display(folder)}: cannot be written; choose another path")
                append(self.path).discard()
            else:
                self._new(self.path).discard()
        except LockedError:
            return

    def _require_fitting(self, manifest: Manifest) -> None:
        """Require that the existing bundle can take the trajectory, as far as it is known.

        Raises:
            UsageError: it cannot.
        """
        where, theirs = display(self.path), layout_of(manifest)
        encoding = encoding_of_manifest(manifest).name
        problem = None
        if encoding != "convex":
            problem = f"holds {encoding} trajectories, and a recorder writes convexified ones"
        elif theirs.parameters != self._layout.parameters:
            problem = "the bundle holds another network"
        elif theirs.layers != self._layout.layers:
            problem = (
                f"the bundle has {counted(theirs.num_layers, 'layer')}, a recorder makes one of every tensor"
            )
        else:
            problem = self._other_settings(manifest)
        if problem is not None:
            raise UsageError(f"{where}: {problem}; choose another path")
        if self._provenance is not None:
            require_same_facts(where, manifest.provenance, self._provenance)
        require_timestep(where, manifest.provenance, self._every)

    def _other_settings(self, manifest: Any) -> str | None:
        """Return how the settings of a convex bundle differ from those of the recorder, or None."""
        if manifest.smoothed != self._smooth:
            return (
                f"its trajectories are {'' if manifest.smoothed else 'not '}smoothed, unlike the recorder's"
            )
        if (theirs := averaged(manifest.provenance)) != self._average:
            return f"its knots are means of {counted(theirs, 'timestep')}, the recorder's of {self._average}"
        for number, entry in numbered(manifest).items():
            if entry.table.gram is not None:
                return f"its trajectory {number} has a Gram matrix, which a recorder does not make"
            expected = [t for t in self.knots if t < entry.knots[-1]]
            if entry.knots[1:-1] != expected:
                has = listed(entry.knots[1:-1]) or "none"
                return (
                    f"its trajectory {number} has the inserted knots {has}, the recorder has"
                    f" {listed(self.knots) or 'none'}"
                )
        return None
