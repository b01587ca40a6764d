"""Every layout that can be converted, the most specific first."""

from __future__ import annotations

from typing import Final

from trajfmt.sources import (
    att,
    bundles,
    checkpoints,
    datm,
    edf,
    ftd,
    fyi,
    geom,
    glad,
    haba,
    huggingface,
    lors,
    ltdd,
    mct_authors,
    mct_dense,
    mkdt,
    mtt,
    nodistill,
    pad,
    selmatch,
    seqmatch,
    sfgc,
    tesla,
    videodd,
    vl,
)
from trajfmt.sources.base import Layout

__all__ = ["LAYOUTS"]

LAYOUTS: Final[tuple[Layout, ...]] = (
    bundles.LAYOUT,
    mct_authors.LAYOUT,
    mct_dense.LAYOUT,
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
    huggingface.LAYOUT,
    checkpoints.LAYOUT,
)
