"""Replay buffers of vision-language distillation (multimodal_dataset_distillation): pairs of towers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.pairs_and_graphs.towers import Towers, open_towers, pairs_in

__all__ = ["LAYOUT"]

_DATASETS: Final = ("flickr", "coco")
_TEXT_ENCODERS: Final = ("bert", "clip")


def _read(parts: tuple[str, ...]) -> Towers | None:
    """Return the facts in a path `{dataset}/{image encoder}/{text encoder}`, or None."""
    if len(parts) < 3 or parts[-3] not in _DATASETS or parts[-1] not in _TEXT_ENCODERS:
        return None
    return Towers(parts[-3], parts[-2], parts[-1], {})


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the pairs in a folder."""
    return open_towers(path, options, "VL", _read)


LAYOUT: Final = FileLayout(
    name="vl",
    title="Vision-language distillation: an image and a text tower, one trajectory a pair of files",
    files="img_replay_buffer_{n}.pt with txt_replay_buffer_{n}.pt in {dataset}/{image}/{text}",
    recognise=pairs_in,
    open=_open,
)
