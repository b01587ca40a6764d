"""Replay buffers of HaBa (DatasetFactorization): MTT's files."""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="HaBa",
        title="HaBa (DatasetFactorization): MTT's files",
        folders=("haba", "datasetfactorization"),
    )
)
