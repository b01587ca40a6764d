"""HDF5 datasets as a manifest describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trajfmt.schema.layout import DTYPES

__all__ = ["Dataset", "Datasets", "Scale", "type_name"]


class Dataset(NamedTuple):
    """A dataset, as the manifest describes it."""

    shape: tuple[int, int]
    dtype: str
    """As `type_name` calls it."""

    offset: int | None
    """Byte offset of contiguous data."""

    chunk: int = 0
    """Elements of a chunk, 0 for contiguous data."""

    chunks: tuple[Sequence[int], Sequence[int]] = ((), ())
    """Offsets and sizes of all chunks, timestep by timestep."""

    keyframe: int | None = None
    filters: tuple[int, ...] = ()
    """Identifiers of HDF5's filters for a chunk."""


class Scale(NamedTuple):
    """A dimension scale, which labels an axis of other datasets and may be absent."""

    size: int
    kind: str
    """The kind of its items, as numpy calls it: `i` for integers, `S` for texts of a fixed length."""


Datasets = dict[str, Dataset | Scale]
"""The datasets of one file by name."""


def type_name(dtype: np.dtype[np.generic]) -> str:
    """Return the name of an item type: numpy's own, except for `bfloat16`."""
    return "bfloat16" if dtype == DTYPES["BF16"] else dtype.str
