"""What a manifest says of HDF5 datasets."""

from __future__ import annotations

import numpy as np
import pytest

from trajfmt.schema.layout import DTYPES
from trajfmt.storage.datasets import Dataset, type_name


@pytest.mark.parametrize(
    ("dtype", "name"), [("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8"), ("BF16", "bfloat16")]
)
def test_types_have_names_of_their_own(dtype: str, name: str) -> None:
    """numpy calls bfloat16 a void type of two bytes, which would be the name of others, too."""
    assert type_name(DTYPES[dtype]) == name
    assert type_name(np.dtype("<u4")) == "<u4"


def test_a_dataset_is_contiguous_unless_it_says_otherwise() -> None:
    """Tables need a shape, a type and an offset."""
    table = Dataset((5, 3), "<f8", 64)
    assert (table.chunk, table.chunks, table.keyframe, table.filters) == (0, ((), ()), None, ())
