"""Replay buffers of SelMatch: MTT's files, of networks for normalised images. Folders have no suffix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from trajfmt.schema.models import PathFacts, facts_of_path, normalisation
from trajfmt.schema.provenance import Preprocessing
from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

_TINY: Final = Preprocessing(kind="normalize", mean=[0.4802, 0.4481, 0.3975], std=[0.277, 0.2691, 0.2821])
"""SelMatch's constants for Tiny-ImageNet (utils.py)."""


def _facts(folder: Path) -> PathFacts:
    """Return the facts in MTT's form of path. SelMatch never whitens, and has its own constants for Tiny."""
    facts = facts_of_path(folder)
    if facts.dataset is None:
        return facts
    return replace(facts, preprocessing=_TINY if facts.dataset == "Tiny" else normalisation(facts.dataset))


LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="SelMatch",
        title="SelMatch: MTT's files, of networks with batch norm",
        files="replay_buffer_{n}.pt, 10 trajectories each, in {dataset}/{model}; images are normalised",
        folders=("selmatch",),
        facts=_facts,
    )
)
