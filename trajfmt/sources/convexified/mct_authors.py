"""Pairs of files of the MCT authors' code: `waypoint_buffer*_{n}.pt` with `step_buffer*_{n}.pt`.

The trajectories are convexified. A waypoint file is a list of trajectories of knots of tensors, nested as MTT
nests timesteps. A step file contains the betas, see `mct_betas`.
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
from trajfmt.sources.base import unused
from trajfmt.sources.base.collection import Collection, FileLayout, FilePart, Found, OpenOptions
from trajfmt.sources.base.targets import named_by
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.convexified.mct_betas import PairTrajectory
from trajfmt.sources.mtt_family.replay import ReplayPart, numbered, remarks_on_numbers
from trajfmt.sources.torchfile import zipped
from trajfmt.sources.torchfile.unpickle import load

__all__ = ["CODEBASE", "LAYOUT", "facts", "kinds_in", "one_kind", "provenance", "recognised_by"]

CODEBASE: Final = "MCT"
_HALVES: Final = ("waypoint", "step")
_NAME: Final = re.compile(r"(?:waypoint|step)_buffer(?P<kind>|_ip\d+|_uni|_dec|_proj)_(?P<number>\d+)\.pt")


class Kind(NamedTuple):
    """The part of a name before the number: empty, or such as `_ip4`, `_uni`, `_dec` or `_proj`."""

    infix: str

    @property
    def named(self) -> int:
        """The number of knots in the name."""
        return int(self.infix[3:]) if self.infix.startswith("_ip") else 2

    @property
    def free(self) -> bool:
        """Whether betas need not run from 0 to 1, as in two of the ablations."""
        return self.infix in ("_dec", "_proj")

    @property
    def ablation(self) -> str | None:
        """The ablation `uni`, `dec` or `proj`, or None."""
        return self.infix[1:] if self.infix in ("_uni", "_dec", "_proj") else None

    @property
    def title(self) -> str:
        """A description for messages."""
        if self.ablation is not None:
            return f"pairs, ablation `{self.ablation}`"
        return "pairs, two knots" if self.named == 2 else f"pairs, {self.named} knots"


def kinds_in(folder: Path, name: re.Pattern[str]) -> list[str]:
    """Return the kinds of files in a folder, sorted.

    Args:
        folder: the folder.
        name: the pattern of a file's name, with a group `kind`.
    """
    matches = (name.fullmatch(file.name) for file in folder.iterdir() if file.is_file())
    return sorted({match["kind"] for match in matches if match})


def one_kind(found: Sequence[str], names: str, path: Path) -> str:
    """Return the only kind of files in a folder.

    Args:
        found: the kinds of files in the folder.
        names: the names of the files, with `{}` for the kind.
        path: the folder, for error messages.

    Raises:
        SourceError: there is no kind, or several, which one bundle cannot contain.
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


def recognised_by(name: re.Pattern[str], files: str, path: Path) -> str | None:
    """Return why a path contains files with names of a pattern, or None.

    A folder that contains replay buffers, too, is taken for a folder of replay buffers.

    Args:
        name: the pattern of a file's name, with a group `kind`.
        files: the names of the files, for the reason.
        path: a file or folder.
    """
    if path.is_file():
        return "its name" if name.fullmatch(path.name) else None
    found = path.is_dir() and kinds_in(path, name) and not numbered(path)
    return f"there are {files}" if found else None


def _recognise(path: Path) -> str | None:
    return recognised_by(_NAME, "waypoint_buffer*_<n>.pt or step_buffer*_<n>.pt", path)


def open_pairs(path: Path, options: OpenOptions) -> Collection:
    """Return the pairs of a folder, or the pair of one file.

    Raises:
        SourceError: there are no pairs, or pairs of several kinds.
    """
    if path.is_file():
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise SourceError(
                "nothing_to_convert",
                "must be called waypoint_buffer*_<n>.pt or step_buffer*_<n>.pt, next to its other half",
                path=path,
            )
        folder, kind = path.parent, Kind(named["kind"])
        pairs = {
            int(named["number"]): [
                folder / f"{half}_buffer{kind.infix}_{named['number']}.pt" for half in _HALVES
            ]
        }
        notices = []
    else:
        folder, kind = path, Kind(one_kind(kinds_in(path, _NAME), "waypoint_buffer{}_<n>.pt", path))
        halves = [numbered(path, f"{half}_buffer{kind.infix}_") for half in _HALVES]
        pairs = {
            number: [
                found.get(number, path / f"{half}_buffer{kind.infix}_{number}.pt")
                for half, found in zip(_HALVES, halves, strict=True)
            ]
            for number in sorted(halves[0].keys() | halves[1].keys())
        }
        used = [file for pair in pairs.values() for file in pair]
        notices = remarks_on_numbers(list(pairs), CODEBASE) + unused.remarks(path, used)
    parts = [PairPart(*pair, kind=kind, trust_pickle=options.trust_pickle) for pair in pairs.values()]
    counted, remarks = named_by(folder, [file for pair in pairs.values() for file in pair], facts)
    return Found(
        folder=folder,
        layout_name=f"MCT authors' {kind.title}",
        recognised=options.why,
        parts=parts,
        notices=notices + remarks + _remarks(parts[0]),
        facts=(known := facts(counted)),
        provenance=provenance(options, known, kind.ablation),
        convex=True,
    )


def facts(folder: Path) -> models.PathFacts:
    """Return the facts in MTT's form of path.

    Unlike MTT, this codebase adds `_NO_ZCA` to Tiny-ImageNet, too, if images are not whitened.

    >>> facts(Path("buffers/Tiny/ConvNetD4")).preprocessing.kind
    'zca'
    """
    found = models.facts_of_path(folder)
    if found.dataset == "Tiny" and found.preprocessing is None:
        return replace(found, preprocessing=Preprocessing(kind="zca", eps=0.1))
    return found


def provenance(options: OpenOptions, known: models.PathFacts, ablation: str | None = None) -> Provenance:
    """Return the provenance that the names of the files imply: codebase, ablation, unit of a timestep.

    The unit is recorded only if the user names the file layout or the path contains a known model, as for
    MTT's buffers, from which the authors' code makes its files: others write buffers of the same names every
    10 epochs, and `traj export` writes pairs of any trajectories.

    Args:
        options: how the source is opened.
        known: the facts in the path.
        ablation: the ablation, if the files belong to one.
    """
    recipe: dict[str, Scalar] = {"codebase": CODEBASE}
    if ablation is not None:
        recipe["ablation"] = ablation
    origin: dict[str, KnownFrom] = {"recipe": "flag" if options.chosen else "layout"}
    if not options.chosen and known.model is None:
        return Provenance(recipe=recipe, known_from=origin)
    return Provenance(
        recipe=recipe, timestep=TimestepUnit(kind="epoch"), known_from={**origin, "timestep": "layout"}
    )


def _remarks(part: PairPart) -> list[str]:
    """Return a remark if the authors' reader would not use all knots of a pair."""
    if not part.also:
        return []  # half of a pair
    try:
        first = zipped.read(part.path)[0].timesteps
    except (zipped.Unusual, OSError, IndexError, SourceError, CorruptError):
        return []  # the error is reported when the file is converted
    named = part.kind.named
    if named == first:
        return []
    reader = (
        f"uses only the first {named}, and no timestep after the last of these"
        if named < first
        else f"expects {named}"
    )
    return [
        f"the names say {named} knots, the files have {first}: all are used. The authors' reader {reader}"
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
        """Return the trajectories of the pair. Knots stay in the mapped file.

        Raises:
            SourceError: one half is missing, or the halves have different numbers of trajectories.
            FormatError: a file is damaged, or unsafe to read.
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
                f"has {count} trajectories, {self.path.name} has {len(knots)}: these files are no pair",
                path=self.also[0],
            )
        most = self.also[0].stat().st_size
        return [
            PairTrajectory(
                one,
                two,
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
    recognise=_recognise,
    open=open_pairs,
)
