"""ATT's buffers: MTT's files, trained with larger batches."""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base import Layout
from trajfmt.sources.paths import without_resolution
from trajfmt.sources.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[Layout] = layout_of(
    Writer(
        codebase="ATT",
        title="ATT: MTT's files, batches of 512",
        folders=("att",),
        facts=without_resolution,
    )
)
