"""One mutation of a bundle and its verdict, from a seed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.trust.mutated import arrays, folders, frames, headers, metadata
from benchmarks.trust.mutated.bundles import Subject
from benchmarks.trust.mutated.copies import copied_wrong
from benchmarks.trust.mutated.documents import copied, edited, spelled, spoiled
from benchmarks.trust.mutated.manifests import plausible
from benchmarks.trust.mutated.places import Places
from benchmarks.trust.mutated.seals import LEVELS, WIDTH, digested, listed, sealed
from benchmarks.trust.mutated.verdicts import Verdict, judge

__all__ = ["BundleTrials", "Draft", "drafted"]


@dataclass
class Draft:
    """A bundle in the making."""

    subject: Subject
    donor: Subject
    level: str
    """What is fixed up; one of `seals.LEVELS`."""

    tree: dict[str, Any] = field(default_factory=dict)
    manifest: Any = None
    text: bytes = b""
    mutators: list[str] = field(default_factory=list)


def drafted(chance: Random, subjects: list[Subject]) -> Draft:
    """Return a mutated bundle."""
    subject, donor = chance.choice(subjects), chance.choice(subjects)
    draft = Draft(subject, donor, chance.choices(LEVELS, (20, 20, 20, 25, 15))[0])
    draft.tree, draft.manifest = dict(subject.tree), copied(subject.manifest)
    names = list(_MUTATORS)
    weights = [_MUTATORS[name][0] for name in names]
    drawn = chance.choices(names, weights, k=chance.choice((1, 1, 1, 2)))
    for name in sorted(drawn, key=names.index):  # files come last: others want bytes
        if name in _LATE:
            continue
        with suppress(Exception):  # of entries of the future, and of what has been mutated before
            _MUTATORS[name][1](chance, draft)
            draft.mutators.append(name)
    _fix_up(draft)
    if not draft.mutators or chance.random() < 0.1:
        late = chance.choice(list(_LATE))
        _LATE[late](chance, draft)
        draft.mutators.append(late)
    if draft.level != "nothing":
        draft.text = sealed(draft.text)
    if (
        draft.tree.get("manifest.json") is subject.tree["manifest.json"]
        and draft.text != subject.tree["manifest.json"]
    ):
        draft.tree["manifest.json"] = draft.text
    return draft


def _fix_up(draft: Draft) -> None:
    """Fix the manifest up as the level says, and set its text."""
    rank = LEVELS.index(draft.level)
    with suppress(KeyError, TypeError, IndexError, ValueError):  # what is missing has no digest
        if rank >= LEVELS.index("pieces"):
            digested(draft.manifest, draft.tree, identity=draft.level == "digests")
    if rank >= LEVELS.index("files"):
        listed(draft.manifest, draft.tree)
    changed = draft.manifest != draft.subject.manifest
    draft.text = spelled(draft.manifest) if changed else draft.subject.tree["manifest.json"]


def _of_kind(chance: Random, draft: Draft, *endings: str) -> str:
    names = [name for name in draft.tree if name.endswith(endings)]
    return chance.choice(names) if names else ""


def _header(chance: Random, draft: Draft) -> None:
    if name := _of_kind(chance, draft, ".safetensors"):
        donors = [data for other, data in draft.donor.tree.items() if other.endswith(".safetensors")]
        draft.tree[name] = headers.mutated(chance, draft.tree[name], chance.choice(donors) if donors else b"")


def _metadata(chance: Random, draft: Draft) -> None:
    if name := _of_kind(chance, draft, ".h5"):
        data, held = draft.tree[name], range(0)
        if chance.random() < 0.8:
            regions = [
                r
                for entry in draft.manifest["trajectories"]
                if "file" in entry or "table" in entry
                for r in arrays.regions(entry, draft.manifest)
                if r[0] == name
            ]
            held = range(min(r[1] for r in regions), max(r[1] + r[2] for r in regions)) if regions else held
        draft.tree[name] = metadata.mutated(chance, data, held)


def _frame(chance: Random, draft: Draft) -> None:
    entries = [entry for entry in draft.manifest["trajectories"] if "chunks" in entry]
    if entries:
        entry, codec = chance.choice(entries), draft.manifest["codec"]
        plain = codec["chunk"] * WIDTH[draft.manifest["parameters"][0]["dtype"]]
        donor = chance.choice(list(draft.donor.tree.values()))
        data = draft.tree[entry["file"]]
        draft.tree[entry["file"]] = frames.mutated(chance, data, entry["chunks"], plain, donor)


def _array(chance: Random, draft: Draft) -> None:
    entries = [entry for entry in draft.manifest["trajectories"] if "file" in entry or "shards" in entry]
    if entries and (regions := arrays.regions(chance.choice(entries), draft.manifest)):
        name, start, size, doubles = chance.choice(regions)
        draft.tree[name] = arrays.mutated(chance, draft.tree[name], start, size, doubles)


def _bits(chance: Random, draft: Draft) -> None:
    name = chance.choice(list(draft.tree))
    draft.tree[name] = folders.flipped(chance, draft.tree[name])


def _files(chance: Random, draft: Draft) -> None:
    if all(isinstance(data, bytes) for data in draft.tree.values()):
        draft.tree = folders.mutated(chance, draft.tree, draft.donor.tree)


def _plausible(chance: Random, draft: Draft) -> None:
    draft.manifest = plausible(chance, draft.manifest)


def _json(chance: Random, draft: Draft) -> None:
    new = draft.manifest
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        new = edited(chance, new, draft.donor.manifest)
    draft.text = spelled(new)


def _spoiled(chance: Random, draft: Draft) -> None:
    draft.text = spoiled(chance, draft.text)


def _none(_chance: Random, _draft: Draft) -> None:
    """Leave the files; a late mutation follows."""


_LATE: dict[str, Callable[[Random, Draft], None]] = {"json": _json, "text": _spoiled}
_MUTATORS: dict[str, tuple[int, Callable[[Random, Draft], None]]] = {
    "json": (30, _none),
    "plausible": (20, _plausible),
    "header": (14, _header),
    "metadata": (10, _metadata),
    "frame": (8, _frame),
    "array": (10, _array),
    "bits": (8, _bits),
    "files": (8, _files),
}


class BundleTrials:
    """Trials of bundles, in folders below `root`."""

    def __init__(self, subjects: list[Subject], root: Path) -> None:
        self._subjects = subjects
        self._places = Places(root)
        self._scratch = root / "scratch"

    def run(self, chance: Random) -> tuple[Draft, Verdict]:
        """Make one mutated bundle and return the verdict of the reader."""
        draft = drafted(chance, self._subjects)
        subject = draft.subject
        folder = self._places.hold(subject.name, draft.tree)
        verify = chance.choice((False, "read", "read", True))
        before, known = subject.tree["manifest.json"], subject.known
        verdict = judge(folder, draft.tree, before=before, known=known, verify=verify, chance=chance)
        if verdict.outcome == "accepted" and chance.random() < 0.03:
            self._scratch.mkdir(exist_ok=True)
            if wrong := copied_wrong(folder, self._scratch, chance):
                verdict.wrong.append(wrong)
        return draft, verdict
