"""Replay buffers of EDF: FTD's files, and `checkpoint.pt` with the experts since the last of them.

A run that was killed after it had written a replay buffer starts again with ten trajectories that are saved
already, and never writes another buffer. Everything that it trains afterwards is in `checkpoint.pt`, after
trajectories that are in the last replay buffer, too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from trajfmt.errors import TrajfmtError
from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.base.unused import left_out
from trajfmt.sources.mtt_family import mtt
from trajfmt.sources.mtt_family.replay import ReplayPart, Writer, open_replay, recognise

__all__ = ["LAYOUT"]

_NAME: Final = "checkpoint.pt"
_WRITER: Final = Writer(
    codebase="EDF",
    title="EDF: FTD's files, and checkpoint.pt with experts that are in none of them yet",
    files="replay_buffer_{n}.pt and checkpoint.pt, in {dataset}[_NO_ZCA][/{subset}/{res}]/{model}",
    folders=("edf",),
    repeats=True,
    known_from="layout",
)


def _recognise(path: Path) -> str | None:
    """Return the reason if a file of torch with that name is in a folder of numbered replay buffers."""
    files = recognise(path) if path.is_dir() else None
    if files is None or not (path / _NAME).is_file():
        return None
    with (path / _NAME).open("rb") as file:
        start = file.read(4)
    if start[:2] not in (b"PK", b"\x80\x02"):
        return None
    return f"{files}, and {_NAME} beside them"


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the replay buffers, followed by `checkpoint.pt` if it contains experts."""
    file = path / _NAME
    if not path.is_dir() or not file.is_file():
        return open_replay(path, options, _WRITER)
    if not options.chosen:
        try:
            ReplayPart(file, trust_pickle=options.trust_pickle).open(path)
        except TrajfmtError as exc:  # another codebase's file of that name, or damaged: not an error
            found = mtt.open_mtt(path, replace(options, why="there are replay_buffer_<n>.pt"))
            notices = [text for text in found.notices if _NAME not in text]
            return replace(found, notices=[*notices, left_out(file, f"no experts of EDF: {exc}")])
    return open_replay(path, options, _WRITER, file)


LAYOUT: Final = FileLayout(
    name="edf", title=_WRITER.title, files=_WRITER.files, recognise=_recognise, open=_open
)
