"""Replay buffers of VideoDD (video_distillation): MTT's files, directly in a folder that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trajfmt.schema.models import PathFacts
from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]


def _facts(folder: Path) -> PathFacts:
    """Return no facts: the user chooses the path freely."""
    del folder
    return PathFacts()


LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="VideoDD",
        title="VideoDD (video_distillation): MTT's files, of networks for video",
        files="replay_buffer_{n}.pt, 10 trajectories each, in any folder",
        folders=("videodd", "video_distillation", "video-distillation"),
        facts=_facts,
    )
)
