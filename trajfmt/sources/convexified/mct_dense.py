"""Dense convexified replay buffers of the MCT authors' code: `convexified[_v2|_v3]_replay_buffer_{n}.pt`.

They contain every timestep of a convexified path, nested as in MTT's files, and therefore save no space.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from trajfmt.sources.base import unused
from trajfmt.sources.base.collection import Collection, FileLayout, Found, OpenOptions
from trajfmt.sources.base.targets import named_by
from trajfmt.sources.convexified.mct_authors import (
    CODEBASE,
    facts,
    kinds_in,
    one_kind,
    provenance,
    recognised_by,
)
from trajfmt.sources.mtt_family.replay import ReplayPart, numbered, remarks_on_numbers

__all__ = ["LAYOUT"]

_NAME: Final = re.compile(r"convexified(?P<kind>|_v\d+)_replay_buffer_\d+\.pt")


def _recognise(path: Path) -> str | None:
    return recognised_by(_NAME, "convexified*_replay_buffer_<n>.pt", path)


def open_dense(path: Path, options: OpenOptions) -> Collection:
    """Return the files of a folder, or one file.

    Raises:
        SourceError: there are no files, or files of several versions.
    """
    if path.is_file():
        folder, files, notices = path.parent, {0: path}, []
    else:
        version = one_kind(kinds_in(path, _NAME), "convexified{}_replay_buffer_<n>.pt", path)
        folder, files = path, numbered(path, f"convexified{version}_replay_buffer_")
        notices = remarks_on_numbers(list(files), CODEBASE) + unused.remarks(path, list(files.values()))
    named, remarks = named_by(folder, files.values(), facts)
    return Found(
        folder=folder,
        layout_name="MCT authors' dense convexified buffer",
        recognised=options.why,
        parts=[ReplayPart(file, trust_pickle=options.trust_pickle) for file in files.values()],
        notices=notices + remarks,
        facts=(known := facts(named)),
        provenance=provenance(options, known),
    )


LAYOUT: Final = FileLayout(
    name="mct-dense",
    title="the MCT authors' convexify.py (MCT): convexified paths with every timestep",
    files="convexified[_v2|_v3]_replay_buffer_{n}.pt",
    recognise=_recognise,
    open=open_dense,
)
