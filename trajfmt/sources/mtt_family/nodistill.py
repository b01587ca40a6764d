"""Replay buffers of NoDistill: MTT's files, which its reader takes from number 1 on.

NoDistill stores ImageNet-1K experts as checkpoints `model_{epoch}.pth`, which the folder `checkpoints` reads.
"""

from __future__ import annotations

from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.paths import without_resolution
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="NoDistill",
        title="NoDistill (no-distillation): MTT's files, read from number 1 on",
        files="replay_buffer_{n}.pt in {dataset}[_NO_ZCA][/{subset}[/{res}]]/{model}",
        folders=("nodistill", "no-distillation", "no_distillation"),
        facts=without_resolution,
        first=1,
    )
)
