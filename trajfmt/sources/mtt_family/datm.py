"""Replay buffers of DATM: FTD's files, with trajectories of 100 epochs."""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="DATM",
        title="DATM: FTD's files, 100 epochs",
        folders=("datm",),
    )
)
