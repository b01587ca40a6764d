"""Replay buffers of LoRS: pairs of towers. The path contains the loss."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.mtt_family.paths import parts_of
from trajfmt.sources.pairs_and_graphs.towers import Towers, open_towers, pairs_in

__all__ = ["LAYOUT"]

_TEXT_ENCODERS: Final = ("bert", "clip", "distilbert", "gpt1")
_ENCODERS: Final = re.compile(rf"(.+)_({'|'.join(_TEXT_ENCODERS)})")


def _read(parts: tuple[str, ...]) -> Towers | None:
    """Return the facts in a path `{dataset}/{image encoder}_{text encoder}/{loss}[_NoAug]`, or None."""
    encoders = _ENCODERS.fullmatch(parts[-2]) if len(parts) > 2 else None
    if encoders is None:
        return None
    loss = parts[-1].removesuffix("_NoAug")
    more = {"loss": loss, "augmented": loss == parts[-1]}
    return Towers(parts[-3], encoders[1], encoders[2], more)


def _recognise(path: Path) -> str | None:
    """Return the reason if a folder contains pairs and its path has the form of LoRS."""
    files = pairs_in(path)
    return f"{files}, and <image>_<text>/<loss> in the path" if files and _read(parts_of(path)) else None


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the pairs in a folder."""
    return open_towers(path, options, "LoRS", _read)


LAYOUT: Final = FileLayout(
    name="lors",
    title="LoRS: an image and a text tower, one trajectory a pair of files",
    files="img_replay_buffer_{n}.pt with txt_replay_buffer_{n}.pt in {dataset}/{image}_{text}/{loss}[_NoAug]",
    recognise=_recognise,
    open=_open,
)
