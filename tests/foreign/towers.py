"""Pairs of towers as vision-language distillation and LoRS write them, one trajectory a pair."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch

from .family import EPOCHS, Expert, expert

IMAGE = ((6, 3, 3, 3), (6,), (4, 6), (4,))
"""An image encoder: it has a convolution."""

TEXT = ((5, 7), (5,), (5, 5), (5,), (5,), (5,))
"""`text_projection`: projection, fc and layer norm, weight and bias each."""


@dataclass
class Pairs:
    """What a script left behind."""

    folder: Path
    images: list[Expert]
    texts: list[Expert]


def pairs(folder: Path, experts: int = 3, seed: int = 0) -> Pairs:
    """Train and save as both loops do: the number comes from the image's files alone.

    multimodal_dataset_distillation buffer.py:58-117, LoRS_Distill buffer.py:57-136; `--save_interval` is
    ignored, and each file is a list of one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = Pairs(folder, [], [])
    for it in range(experts):
        image, text = expert(seed + it, IMAGE), expert(seed + 100 + it, TEXT)
        n = 0
        while (folder / f"img_replay_buffer_{n}.pt").exists():
            n += 1
        torch.save([image], folder / f"img_replay_buffer_{n}.pt")
        torch.save([text], folder / f"txt_replay_buffer_{n}.pt")
        written.images.append(image)
        written.texts.append(text)
    return written


def vl(root: Path) -> Pairs:
    """`{dataset}/{image encoder}/{text encoder}` (multimodal_dataset_distillation buffer.py:27-32)."""
    return pairs(root / "flickr" / "nfnet" / "bert")


def lors(root: Path) -> Pairs:
    """`{dataset}/{image}_{text}/{loss}[_NoAug]` (LoRS_Distill buffer.py:33-38)."""
    return pairs(root / "coco" / "nf_resnet50_distilbert" / "InfoNCE_NoAug")


def ptm(root: Path) -> Pairs:
    """`{dataset}/{image}_{text}/{loss}[_NoAug]/normal` (PTM-ST buffer.py:31-34)."""
    return pairs(root / "flickr" / "nfnet_bert" / "InfoNCE" / "normal")


def convexified(written: Pairs, start: int, end: int) -> Path:
    """Write what PTM-ST's convexify.py makes of its timesteps, in `convexified_{start}_{end}` beside them.

    It slices as Python does, measures the steps of each tensor in float32, and saves every timestep again. A
    tensor that stands still keeps its first values.
    """
    folder = written.folder.with_name(f"convexified_{start}_{end}")
    folder.mkdir()
    for kind, experts in (("img", written.images), ("txt", written.texts)):
        for n, steps in enumerate(experts):
            torch.save([_on_chords(steps[start:end])], folder / f"{kind}_replay_buffer_{n}.pt")
    return folder


def _on_chords(steps: Expert) -> Expert:
    first, last = steps[0], steps[-1]
    pairs = itertools.pairwise(steps)
    norms = torch.tensor([[(b - a).norm().item() for a, b in zip(x, y, strict=True)] for x, y in pairs])
    shares = (norms.cumsum(0) / norms.sum(0)).nan_to_num(0.0)
    between = [
        [(1.0 - b.item()) * x + b.item() * y for b, x, y in zip(row, first, last, strict=True)]
        for row in shares[:-1]
    ]
    return [[x.clone() for x in each] for each in (first, *between, last)]


def joined(image: Expert, text: Expert) -> Expert:
    """Return both towers as one network: the image's tensors, then the text's."""
    assert len(image) == len(text) == EPOCHS + 1
    return [[*a, *b] for a, b in zip(image, text, strict=True)]
