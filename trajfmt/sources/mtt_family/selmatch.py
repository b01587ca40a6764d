"""SelMatch's buffers: MTT's files in a folder without suffix, of networks for normalised images."""

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


def _facts(folder: Path) -> PathFacts:
    """Read MTT's form; its code knows no whitening, and has constants of its own for Tiny (utils.py)."""
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
