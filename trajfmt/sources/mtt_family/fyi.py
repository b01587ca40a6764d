"""FYI's buffers: MTT's files, ImageNet subsets without the resolution in the path."""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.paths import without_resolution
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="FYI",
        title="FYI: MTT's files",
        files="replay_buffer_{n}.pt, 10 trajectories each, in {dataset}[_NO_ZCA][/{subset}]/{model}",
        folders=("fyi",),
        facts=without_resolution,
    )
)
