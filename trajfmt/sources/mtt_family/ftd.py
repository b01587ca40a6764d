"""Replay buffers of FTD: MTT's files, of experts trained with GSAM. The paths do not name the optimizer."""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="FTD",
        title="FTD: MTT's files, trained with GSAM",
        folders=("ftd", "ftd-distillation"),
    )
)
