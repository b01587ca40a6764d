"""The MCT authors' artifacts: `waypoint_buffer*_{n}.pt` with `step_buffer*_{n}.pt`, convexified already.

Owns their names and what a pair of files is. A waypoint file is a list of trajectories of knots of tensors,
as MTT nests timesteps; a step file has their betas, see `mct_betas`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema import models
from trajfmt.schema.provenance import KnownFrom, Preprocessing, Provenance, Scalar, TimestepUnit
from trajfmt.sources.base import beside
from trajfmt.sources.base.collection import (
    Collection,
    FileLayout,
    FilePart,
    ForeignTrajectory,
    Found,
    OpenOptions,
)
from trajfmt.sources.convexified.mct_betas import PairTrajectory
from trajfmt.sources.mtt_family.replay import ReplayPart, numbered, remarks_on_numbers
from trajfmt.sources.torchfile import zipped
from trajfmt.sources.torchfile.unpickle import load

__all__ = ["CODEBASE", "LAYOUT", "Kind", "PairPart", "facts", "kinds_in", "one_kind", "provenance"]

CODEBASE: Final = "MCT"
_HALVES: Final = ("waypoint", "step")
_NAME: Final = re.compile(r"(waypoint|step)_buffer(|_ip\d+|_uni|_dec|_proj)_(\d+)\.pt")


class Kind(NamedTuple):
    """What stands between `waypoint_buffer` and the number: nothing, `_ip4`, `_uni`, `_dec` or `_proj`."""

    infix: str

    @property
    def named(self) -> int:
        """Return the knots that the name says."""
        return int(self.infix[3:]) if self.infix.startswith("_ip") else 2

    @property
    def smoothed(self) -> bool:
        """Return whether knots were averaged with their neighbours: with more than two, always."""
        return self.named > 2

    @property
    def free(self) -> bool:
        """Return whether betas need not run from 0 to 1: those of two ablations."""
        return self.infix in ("_dec", "_proj")

    @property
    def ablation(self) -> str | None:
        """Return which ablation it is: `uni`, `dec` or `proj`."""
        return self.infix[1:] if self.infix in ("_uni", "_dec", "_proj") else None

    @property
    def title(self) -> str:
        """Return it in words."""
        if self.ablation is not None:
            return f"pairs, ablation `{self.ablation}`"
        return "pairs, two knots" if self.named == 2 else f"pairs, {self.named} knots, smoothed"


def kinds_in(folder: Path) -> list[str]:
    """Return the kinds of pairs in a folder, in the order of their names."""
    return sorted({m[2] for file in folder.iterdir() if (m := _NAME.fullmatch(file.name)) and file.is_file()})


def one_kind(found: Sequence[str], names: str, path: Path) -> str:
    """Return the only kind there is.

    Raises:
        SourceError: there are none, or several, which no bundle holds together.
    """
    if len(found) == 1:
        return found[0]
    if not found:
        raise SourceError("nothing_to_convert", f"no {names.format('*')} in this folder", path=path)
    shown = ", ".join(names.format(kind) for kind in found)
    raise SourceError(
        "nothing_to_convert",
        f"several kinds of trajectories in one folder: {shown}; link one kind into a folder of its own, or"
        " give one file",
        path=path,
    )


def recognise(path: Path) -> str | None:
    """Tell by the files' names; a folder that has the original buffers too is taken for those."""
    if path.is_file():
        return "its name" if _NAME.fullmatch(path.name) else None
    if not path.is_dir() or not kinds_in(path) or numbered(path):
        return None
    return "there are waypoint_buffer*_<n>.pt or step_buffer*_<n>.pt"


def open_pairs(path: Path, options: OpenOptions) -> Collection:
    """Return the pairs of a folder, or the pair that one of its files belongs to.

    Raises:
        SourceError: there is none, or there are several kinds.
    """
    if path.is_file():
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise SourceError(
                "nothing_to_convert",
                "must be called waypoint_buffer*_<n>.pt or step_buffer*_<n>.pt, beside its other half",
                path=path,
            )
        folder, kind = path.parent, Kind(named[2])
        pairs = {int(named[3]): [folder / f"{half}_buffer{kind.infix}_{named[3]}.pt" for half in _HALVES]}
        notices = []
    else:
        folder, kind = path, Kind(one_kind(kinds_in(path), "waypoint_buffer{}_<n>.pt", path))
        halves = [numbered(path, f"{half}_buffer{kind.infix}_") for half in _HALVES]
        pairs = {
            number: [
                found.get(number, path / f"{half}_buffer{kind.infix}_{number}.pt")
                for half, found in zip(_HALVES, halves, strict=True)
            ]
            for number in sorted(halves[0].keys() | halves[1].keys())
        }
        used = [file for pair in pairs.values() for file in pair]
        notices = remarks_on_numbers(list(pairs), CODEBASE) + beside.remarks(path, used)
    parts = [PairPart(*pair, kind=kind, trust_pickle=options.trust_pickle) for pair in pairs.values()]
    return Found(
        folder=folder,
        layout_name=f"MCT authors' {kind.title}",
        recognised=options.why,
        parts=parts,
        notices=notices + _remarks(parts[0]),
        facts=facts(folder),
        provenance=provenance(options, kind.ablation),
        convex=True,
    )


def facts(folder: Path) -> models.PathFacts:
    """Read MTT's form of path, in which this codebase marks Tiny-ImageNet too where it is not whitened.

    >>> facts(Path("buffers/Tiny/ConvNetD4")).preprocessing.kind
    'zca'
    """
    found = models.facts_of_path(folder)
    if found.dataset == "Tiny" and found.preprocessing is None:
        return replace(found, preprocessing=Preprocessing(kind="zca", eps=0.1))
    return found


def provenance(options: OpenOptions, ablation: str | None = None) -> Provenance:
    """Return what the files' names tell: whose they are, which ablation, and so what a timestep is."""
    recipe: dict[str, Scalar] = {"codebase": CODEBASE}
    if ablation is not None:
        recipe["ablation"] = ablation
    origin: KnownFrom = "flag" if options.told else "layout"
    return Provenance(
        recipe=recipe,
        timestep=TimestepUnit(kind="epoch"),
        known_from={"recipe": origin, "timestep": "layout"},
    )


def _remarks(part: PairPart) -> list[str]:
    """Say where their reader would not use all that their writer has written."""
    if not part.also:
        return []  # half of a pair
    try:
        first = zipped.read(part.path)[0].timesteps
    except (zipped.Unusual, OSError, IndexError, SourceError, CorruptError):
        return []  # what is wrong is said where the file is converted
    named = part.kind.named
    if named == first:
        return []
    return [
        f"the names say {named} knots, the files have {first}: all are used; the authors' reader takes"
        f" {named}, and so reaches no timestep after the last of these"
    ]


class PairPart(FilePart):
    """A waypoint file with its step file."""

    def __init__(self, waypoints: Path, steps: Path, *, kind: Kind, trust_pickle: bool = False) -> None:
        present = [file for file in (waypoints, steps) if file.is_file()]
        super().__init__(present[0], *present[1:])
        self.kind = kind
        self._missing = [file for file in (waypoints, steps) if file not in present]
        self._trust = trust_pickle

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the pair's trajectories; knots stay in the mapped file.

        Raises:
            SourceError: a half is missing, or they have different numbers of trajectories.
        """
        if self._missing:
            raise SourceError(
                "unpaired_file",
                f"its other half {self._missing[0].name} is missing: knots and betas are in two files",
                path=self.path,
            )
        knots = ReplayPart(self.path, trust_pickle=self._trust).open(scratch)
        steps = load(self.also[0], trust_pickle=self._trust)
        if not isinstance(steps, (list, tuple)) or len(steps) != len(knots):
            count = len(steps) if isinstance(steps, (list, tuple)) else type(steps).__name__
            raise SourceError(
                "pair_mismatch",
                f"has {count} trajectories, {self.path.name} has {len(knots)}: not of one pair",
                path=self.also[0],
            )
        most = self.also[0].stat().st_size
        return [
            PairTrajectory(
                one,
                two,
                smoothed=self.kind.smoothed,
                free=self.kind.free,
                path=self.also[0],
                most=most,
            )
            for one, two in zip(knots, steps, strict=True)
        ]


LAYOUT: Final = FileLayout(
    name="mct-authors",
    title="the MCT authors' code (MCT): convexified trajectories, their ablations included",
    files="waypoint_buffer[_ip{N}|_uni|_dec|_proj]_{n}.pt with step_buffer[...]_{n}.pt",
    recognise=recognise,
    open=open_pairs,
)
