"""The MCT authors' dense convexified buffers: `convexified[_v2|_v3]_replay_buffer_{n}.pt`.

Every timestep of a convexified path, in MTT's nesting: full trajectories, which save nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from trajfmt.sources.base import beside
from trajfmt.sources.base.collection import Collection, FileLayout, Found, OpenOptions
from trajfmt.sources.convexified.mct_authors import CODEBASE, facts, one_kind, provenance
from trajfmt.sources.mtt_family.replay import ReplayPart, numbered, remarks_on_numbers

__all__ = ["LAYOUT"]

_NAME: Final = re.compile(r"convexified(|_v\d+)_replay_buffer_(\d+)\.pt")


def _kinds(folder: Path) -> list[str]:
    return sorted({m[1] for file in folder.iterdir() if (m := _NAME.fullmatch(file.name)) and file.is_file()})


def recognise(path: Path) -> str | None:
    """Tell by the files' names; a folder that has the original buffers too is taken for those."""
    if path.is_file():
        return "its name" if _NAME.fullmatch(path.name) else None
    if not path.is_dir() or not _kinds(path) or numbered(path):
        return None
    return "there are convexified*_replay_buffer_<n>.pt"


def open_dense(path: Path, options: OpenOptions) -> Collection:
    """Return the files of a folder, or one file.

    Raises:
        SourceError: there is none, or there are several versions.
    """
    if path.is_file():
        folder, files, notices = path.parent, {0: path}, []
    else:
        version = one_kind(_kinds(path), "convexified{}_replay_buffer_<n>.pt", path)
        folder, files = path, numbered(path, f"convexified{version}_replay_buffer_")
        notices = remarks_on_numbers(list(files), CODEBASE) + beside.remarks(path, list(files.values()))
    return Found(
        folder=folder,
        layout_name="MCT authors' dense convexified buffer",
        recognised=options.why,
        parts=[ReplayPart(file, trust_pickle=options.trust_pickle) for file in files.values()],
        notices=notices,
        facts=facts(folder),
        provenance=provenance(options),
    )


LAYOUT: Final = FileLayout(
    name="mct-dense",
    title="the MCT authors' convexify.py (MCT): convexified paths with every timestep",
    files="convexified[_v2|_v3]_replay_buffer_{n}.pt",
    recognise=recognise,
    open=open_dense,
)
