"""FTD's buffers: MTT's files, trained with a flatness-seeking optimizer that no path names."""

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
