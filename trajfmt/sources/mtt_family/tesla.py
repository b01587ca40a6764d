"""Replay buffers of TESLA: MTT's files with one trajectory each.

Paths of ImageNet-1K contain neither subset nor resolution.
"""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="TESLA",
        title="TESLA: MTT's files, one trajectory each",
        files="replay_buffer_{n}.pt, 1 trajectory each, in {dataset}[_NO_ZCA]/{model}",
        folders=("tesla",),
    )
)
