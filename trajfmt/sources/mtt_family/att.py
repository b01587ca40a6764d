"""Replay buffers of ATT: MTT's files, of experts trained with batches of 512."""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.paths import without_resolution
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="ATT",
        title="ATT: MTT's files, batches of 512",
        folders=("att",),
        facts=without_resolution,
    )
)
