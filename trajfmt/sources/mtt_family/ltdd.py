"""Replay buffers of LTDD: experts of two training stages, in a folder that the user names.

The second stage freezes the features. The parameters of frozen layers never change, and their betas stay 0
until the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]


def _form(folder: Path) -> str | None:
    return "ckpt/ckpt_<n>.pt beside them" if any((folder / "ckpt").glob("ckpt_*.pt")) else None


LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="LTDD",
        title="LTDD: FTD's files, of two stages; the second freezes the features",
        files="replay_buffer_{n}.pt, 10 trajectories each, in any folder; ckpt/ckpt_{n}.pt is not read",
        folders=("ltdd",),
        form=_form,
        known_from="layout",
    )
)
