"""Replay buffers of PTM-ST: pairs of towers, as they were trained or convexified.

Its buffer.py writes `normal`, and its convexify.py `convexified_{a}_{b}` beside it: the timesteps a to b - 1
of every trajectory, convexified, each of them again as a copy of all weights. The latter arrive as two knots.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from trajfmt.errors import counted
from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.convexified.chords import ChordTrajectory
from trajfmt.sources.mtt_family.paths import parts_of
from trajfmt.sources.pairs_and_graphs.towers import TowerPart, Towers, open_towers, pairs_in

__all__ = ["LAYOUT"]

_ENCODERS: Final = re.compile(r"(.+)_(bert|clip|distilbert|gpt1|bge)")
_WINDOW: Final = re.compile(r"convexified_(\d{1,6})_(\d{1,6})")


def _read(parts: tuple[str, ...]) -> Towers | None:
    """Return the facts in a path `{dataset}/{image}_{text}/{loss}[_NoAug]/{normal|convexified_a_b}`."""
    if len(parts) < 4 or (parts[-1] != "normal" and not _WINDOW.fullmatch(parts[-1])):
        return None
    encoders = _ENCODERS.fullmatch(parts[-3])
    if encoders is None:
        return None
    loss = parts[-2].removesuffix("_NoAug")
    return Towers(parts[-4], encoders[1], encoders[2], {"loss": loss, "augmented": loss == parts[-2]})


def _window(path: Path) -> re.Match[str] | None:
    """Return the match of a folder's name that says which timesteps were convexified."""
    return _WINDOW.fullmatch(path.resolve().name)


def _recognise(path: Path) -> str | None:
    """Return the reason if a folder contains pairs and its path has the form of PTM-ST."""
    files = pairs_in(path)
    if not files:
        return None
    if _window(path):  # nobody else has such folders, whatever those above are called
        return f"{files}, in a folder convexified_<start>_<end>"
    return f"{files}, and <image>_<text>/<loss>/normal in the path" if _read(parts_of(path)) else None


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the pairs in a folder. Those of `convexified_a_b` are convexified trajectories."""
    found = open_towers(path, options, "PTM-ST", _read)
    window = _window(path)
    if window is None:
        return found
    first, after = int(window[1]), int(window[2])
    provenance = found.provenance
    if first:
        known = {**provenance.known_from, "first_timestep": "path"}
        provenance = msgspec.structs.replace(provenance, first_timestep=first, known_from=known)
    parts = [
        _ConvexPart(part, after - first) if isinstance(part, TowerPart) else part for part in found.parts
    ]
    return dataclasses.replace(
        found,
        layout_name="pair of convexified towers (PTM-ST)",
        parts=parts,
        provenance=provenance,
        convex=True,
    )


class _ConvexPart(TowerPart):
    """The two files of one number in a folder `convexified_{a}_{b}`."""

    def __init__(self, part: TowerPart, timesteps: int) -> None:
        super().__init__(part.path, *part.also, trust_pickle=part.trust_pickle)
        self._expected = timesteps

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the trajectories of both files, combined in pairs, with two knots each."""
        return [_Convex(each, self.path, self._expected) for each in super().open(scratch)]


class _Convex(ChordTrajectory):
    """A pair of towers with two knots."""

    def __init__(self, dense: ForeignTrajectory, path: Path, expected: int) -> None:
        super().__init__(dense, path)
        self._expected = expected

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks on the files, and on trajectories that are shorter than the name of their folder says."""
        if self.timesteps == self._expected:
            return super().remarks
        found, expected = counted(self.timesteps, "timestep"), self._expected
        return [*super().remarks, f"some trajectories have {found}, the name of their folder says {expected}"]


LAYOUT: Final = FileLayout(
    name="ptm",
    title="PTM-ST: an image and a text tower, as trained or convexified, one trajectory a pair of files",
    files="img_replay_buffer_{n}.pt with txt_replay_buffer_{n}.pt in"
    " {dataset}/{image}_{text}/{loss}[_NoAug]/{normal|convexified_{a}_{b}}",
    recognise=_recognise,
    open=_open,
)
