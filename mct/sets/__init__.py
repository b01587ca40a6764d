"""Detecting, reading, converting and writing the distilled images of other codebases and of mct.

It must not import `evaluation` or `distillation`.

Modules:
    base: the interface of a file layout, and the content that all of them share.
    table: the table of file layouts, and opening a path.
    settle: combining the facts of files and user into a synthetic dataset and its real dataset.
    convert: converting files from one layout to another.
    ours: the files of mct.
    mtt: the files of MTT and of codebases derived from it.
    ema: the averaged images of FTD.
    datm: the files of DATM, PAD and EDF.
    seqmatch: the files of SeqMatch.
    parts: sets that are split into several files.
    authors: the files of the MCT authors' code.
    condensation: the files of DC, DSA, DM and CAFE.
    ddranking: the files of DD-Ranking.
    mkdt: the files of MKDT.
    arrays: one NumPy file with all arrays.
    refused: files that are detected but not supported.
    pairs: layouts that consist of a file of images and a file of labels.
    tensors: reading and writing files of tensors.
    labels: converting between kinds of labels.
    names: finding files whose names share a tag.
    classes: whether the classes of a set are those of its dataset.
    looks: warnings about unusual sets.
"""

from mct.sets.base import DistilledSet, FileLayout
from mct.sets.convert import convert_images
from mct.sets.settle import Settled, UserFacts, settle
from mct.sets.table import LAYOUTS, Opened, open_set

__all__ = [
    "LAYOUTS", "DistilledSet", "FileLayout", "Opened", "Settled", "UserFacts", "convert_images", "open_set",
    "settle",
]  # fmt: skip
