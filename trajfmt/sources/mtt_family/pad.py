"""Replay buffers of PAD: one file for each process, numbered by the process. A second run overwrites them.

Parallel processes seed their networks with the clock, and a process that saves twice writes its first
trajectories again. Repeated trajectories are left out.
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
