"""The table of all file layouts, the most specific first: the first that recognises a path is taken."""

from __future__ import annotations

from typing import Final

from trajfmt.sources import bundles
from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.checkpoints import folders, pytorch
from trajfmt.sources.convexified import mct_authors, mct_dense
from trajfmt.sources.mtt_family import (
    att,
    datm,
    edf,
    ftd,
    fyi,
    glad,
    haba,
    ltdd,
    mkdt,
    mtt,
    nodistill,
    pad,
    selmatch,
    seqmatch,
    tesla,
    videodd,
)
from trajfmt.sources.pairs_and_graphs import geom, lors, ptm, sfgc, vl

__all__ = ["LAYOUTS"]

LAYOUTS: Final[tuple[FileLayout, ...]] = (
    bundles.LAYOUT,
    mct_authors.LAYOUT,
    mct_dense.LAYOUT,
    ptm.LAYOUT,
    lors.LAYOUT,
    vl.LAYOUT,
    geom.LAYOUT,
    sfgc.LAYOUT,
    glad.LAYOUT,
    seqmatch.LAYOUT,
    mkdt.LAYOUT,
    edf.LAYOUT,
    ltdd.LAYOUT,
    tesla.LAYOUT,
    ftd.LAYOUT,
    datm.LAYOUT,
    pad.LAYOUT,
    att.LAYOUT,
    haba.LAYOUT,
    selmatch.LAYOUT,
    fyi.LAYOUT,
    nodistill.LAYOUT,
    videodd.LAYOUT,
    mtt.LAYOUT,
    folders.LAYOUT,
    pytorch.LAYOUT,
)
