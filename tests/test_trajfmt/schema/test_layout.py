"""Offsets, runs and splitting of `trajfmt.schema.layout`."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajfmt import Layer, Parameter, ParamLayout, UsageError

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=4).map(tuple), min_size=1, max_size=8).filter(
    lambda shapes: any(0 not in shape for shape in shapes)
)


def _names(shapes: list[tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"m{i // 2}.p{i % 2}", shape) for i, shape in enumerate(shapes)]


def test_offsets_follow_the_products_of_the_shapes() -> None:
    """A matrix, a scalar, an empty tensor and a vector have 6, 1, 0 and 3 elements."""
    layout = ParamLayout.of([("w", (2, 3)), ("s", ()), ("e", (0, 7)), ("b", (3,))], dtype="F16")
    assert layout.offsets == (0, 6, 7, 7, 10)
    assert (layout.size, layout.nbytes, layout.num_layers) == (10, 20, 4)


@pytest.mark.parametrize(("dtype", "width"), [("F16", 2), ("F32", 4), ("F64", 8)])
def test_dtype_gives_little_endian_numpy_type(dtype: str, width: int) -> None:
    """Every dtype is a little-endian float of its width."""
    layout = ParamLayout.of([("w", (3,))], dtype=dtype)  # type: ignore[arg-type]
    assert layout.numpy_dtype == np.dtype(f"<f{width}")
    assert layout.nbytes == 3 * width


@given(SHAPES, st.sampled_from(["tensor", "module", "all"]))
def test_runs_and_layers_partition_the_vector(shapes: list[tuple[int, ...]], layers: str) -> None:
    """Runs cover [0, P) once, and every parameter lies in the layer that owns it."""
    layout = ParamLayout.of(_names(shapes), layers=layers)  # type: ignore[arg-type]
    assert layout.size == sum(math.prod(shape) for shape in shapes)
    covered = [(start, stop) for start, stop, _ in layout.runs]
    assert covered[0][0] == 0
    assert covered[-1][1] == layout.size
    assert all(a[1] == b[0] for a, b in itertools.pairwise(covered))
    owner = [layer for start, stop, layer in layout.runs for _ in range(start, stop)]
    for index, start in enumerate(layout.offsets[:-1]):
        assert set(owner[start : layout.offsets[index + 1]]) <= {layout.layer_of_parameter[index]}
    assert sorted(i for layer in layout.layers for i in layer.parameters) == list(range(len(shapes)))


@given(SHAPES)
def test_split_gives_views_in_own_shape_that_join_to_the_vector(shapes: list[tuple[int, ...]]) -> None:
    """Splitting copies nothing and loses nothing."""
    layout = ParamLayout.of(_names(shapes))
    flat = np.arange(layout.size, dtype="<f4")
    parts = layout.split(flat)
    assert [part.shape for part in parts.values()] == shapes
    assert np.concatenate([part.ravel() for part in parts.values()]).tolist() == flat.tolist()
    assert all(part.size == 0 or np.shares_memory(part, flat) for part in parts.values())


def test_split_refuses_a_vector_of_another_length(layout: ParamLayout) -> None:
    """Nine elements are expected, eight are an error."""
    with pytest.raises(UsageError, match=r"\(9,\)"):
        layout.split(np.zeros(8, "<f4"))


def test_regroup_keeps_parameters(layout: ParamLayout) -> None:
    """Only the layers change."""
    other = layout.regroup("module")
    assert other.parameters == layout.parameters
    assert [layer.name for layer in other.layers] == ["fc", "scale"]


def test_layouts_that_cannot_be_are_refused() -> None:
    """No parameter, a name twice, two dtypes, a wrong grouping and incomplete layers are usage errors."""
    a, b = Parameter("a", (1,)), Parameter("b", (1,), "F64")
    cases = [
        lambda: ParamLayout.of([]),
        lambda: ParamLayout.of([("a", (1,)), ("a", (2,))]),
        lambda: ParamLayout.of([("a", (1,))], dtype="F8"),  # type: ignore[arg-type]
        lambda: ParamLayout.of([("a", (1,))], layers="row"),  # type: ignore[arg-type]
        lambda: ParamLayout((a, b), (Layer("x", (0, 1)),)),
        lambda: ParamLayout((a,), ()),
        lambda: ParamLayout((a,), (Layer("x", (0,)), Layer("y", ()))),
        lambda: ParamLayout((a,), (Layer("x", (0, 0)),)),
        lambda: ParamLayout((a,), (Layer("x", (1,)),)),
    ]
    for case in cases:
        with pytest.raises(UsageError):
            case()


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("", (1,), "must have 1 to 1024 characters, got ''"),
        ("x" * 1025, (1,), "must have 1 to 1024 characters, got 'x"),
        *[(f"x{half}", (1,), "must have 1 to 1024 characters") for half in ("\ud800", "\udc00", "\udfff")],
        ("a", (2, -1), "`a` has a negative size"),
        ("a", (1,) * 9, "8"),
        ("x" * 1024, (1,) * 8, ""),
        ("\u00e9" * 1024, (3,), ""),
        ("\ud7ff\ue000", (3,), ""),
        ("a", (2, 0), "the parameters have no elements"),
        ("__metadata__", (1,), "`__metadata__` cannot name a parameter"),
    ],
)
def test_bounds_of_names_and_shapes(name: str, shape: tuple[int, ...], words: str) -> None:
    """The longest name and the most dimensions are allowed, one more is not; texts are Unicode."""
    if not words:
        assert ParamLayout.of([(name, shape)]).size == math.prod(shape)
        return
    with pytest.raises(UsageError, match=words):
        ParamLayout.of([(name, shape)])
