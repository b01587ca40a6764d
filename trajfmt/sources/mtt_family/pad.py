"""PAD's buffers: a file a process, named by the process, which a second run overwrites.

Parallel processes seed their networks by the clock, and one that saves twice writes its first trajectories
again: what occurs twice is left out.
"""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="PAD",
        title="PAD: FTD's files, numbered by process",
        folders=("pad",),
        repeats=True,
    )
)
