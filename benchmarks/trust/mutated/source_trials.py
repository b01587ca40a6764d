"""One mutation of a source and its verdict, from a seed."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.trust.mutated import archives, folders, headers, pickles
from benchmarks.trust.mutated.bundles import Subject
from benchmarks.trust.mutated.conversions import judge
from benchmarks.trust.mutated.documents import edited, spelled, spoiled
from benchmarks.trust.mutated.places import Places
from benchmarks.trust.mutated.trials import Draft
from benchmarks.trust.mutated.verdicts import Verdict

__all__ = ["SourceTrials"]


_LENIENT = ("edf",)
"""Sources that leave out a file which they cannot read, with a note."""


class SourceTrials:
    """Trials of sources, below a folder."""

    def __init__(self, subjects: list[Subject], root: Path) -> None:
        self._subjects = subjects
        self._places = Places(root)
        self._scratch = root / "scratch"
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)

    def run(self, chance: Random) -> tuple[Draft, Verdict]:
        """Make one mutated source and return the verdict of the converter."""
        subject, donor = chance.choice(self._subjects), chance.choice(self._subjects)
        draft = Draft(subject, donor, "nothing", dict(subject.tree))
        covered = False
        for _ in range(chance.choice((1, 1, 1, 2))):
            with suppress(Exception):  # of what has been mutated before
                covered = _mutate(chance, draft)
        covered = covered and draft.mutators == ["member"] and subject.name not in _LENIENT
        known = subject.known if covered else None
        folder = self._places.hold(subject.name, draft.tree)
        return draft, judge(folder, self._scratch, known=known, chance=chance)


def _mutate(chance: Random, draft: Draft) -> bool:
    """Mutate one file, and return whether a checksum in the file must find it."""
    tree: dict[str, Any] = draft.tree
    name = chance.choice(list(tree))
    data = tree[name]
    kind = chance.random()
    if kind < 0.1:
        draft.tree = dict(folders.mutated(chance, tree, draft.donor.tree))
        draft.mutators.append("files")
    elif kind < 0.2:
        tree[name] = folders.flipped(chance, data)
        draft.mutators.append("bits")
    elif name.endswith(".safetensors"):
        tree[name] = headers.mutated(chance, data)
        draft.mutators.append("header")
    elif name.endswith(".json"):
        text = spoiled(chance, data) if chance.random() < 0.2 else spelled(edited(chance, json.loads(data)))
        tree[name] = text
        draft.mutators.append("json")
    elif data[:2] == b"PK":
        return _of_archive(chance, draft, name, data)
    else:
        tree[name] = pickles.mutated(chance, data)
        draft.mutators.append("pickle")
    return False


def _of_archive(chance: Random, draft: Draft, name: str, data: bytes) -> bool:
    found = archives.members(data)
    kind = chance.random()
    if kind < 0.2 or not found:
        draft.tree[name] = archives.recorded(chance, data)
        draft.mutators.append("record")
        return False
    if kind < 0.3:
        draft.tree[name] = archives.remade(data, {}, chance)
        draft.mutators.append("members")
        return False
    fixed = chance.random() < 0.7
    picked = [member for member in found if member[0].endswith(".pkl")]
    if kind < 0.8 and picked:
        _, start, size, _ = picked[0]
        content = pickles.mutated(chance, data[start : start + size])
        draft.mutators.append("pickle, fixed up" if fixed else "member")
        draft.tree[name] = archives.with_member(data, picked[0], content, fixed=fixed)
        return not fixed
    member = chance.choice([member for member in found if member[2]])
    _, start, size, _ = member
    content = folders.flipped(chance, data[start : start + size])
    draft.mutators.append("member, fixed up" if fixed else "member")
    draft.tree[name] = archives.with_member(data, member, content, fixed=fixed)
    return not fixed and draft.tree[name] != data
