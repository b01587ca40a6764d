"""Replay buffers of FYI: MTT's files. Paths of ImageNet subsets do not contain the resolution."""

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
