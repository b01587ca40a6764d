"""Distilled images of any codebase: recognised, read, completed by facts from the user, and written.

It must not import `evaluation` or `distillation`.

Modules:
    base: the types `FileLayout` and `DistilledSet`.
    table: every file layout, and the recognition of a path's layout.
    settle: a synthetic set and its dataset, from the facts of the files and of the user.
    convert: from one layout to another.
    ours: our own result files.
    mtt: MTT.
    ema: the averages that FTD keeps of its images.
    datm: DATM.
    seqmatch: SeqMatch.
    parts: large sets cut into several files.
    authors: the MCT authors.
    condensation: DC, DSA, DM and CAFE.
    ddranking: DD-Ranking.
    mkdt: MKDT.
    arrays: arrays in one file.
    refused: sets that are recognised and not supported.
    pairs: pairs of image and label files.
    tensors: tensors in files that torch saved.
    labels: the meaning of label tensors.
    names: choosing one file of several.
    looks: remarks on a set that looks odd.
"""

from mct.sets.base import DistilledSet, FileLayout
from mct.sets.convert import convert_images
from mct.sets.settle import Settled, UserFacts, settle
from mct.sets.table import LAYOUTS, Opened, open_set

__all__ = [
    "LAYOUTS", "DistilledSet", "FileLayout", "Opened", "Settled", "UserFacts", "convert_images", "open_set",
    "settle",
]  # fmt: skip
