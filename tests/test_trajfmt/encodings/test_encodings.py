"""Both encodings against independent float64 arithmetic, and against stock libraries."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout
from trajfmt.codecs.archive import KEYFRAME
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.full import encoder, writer

Array = NDArray[np.generic]
SHAPES = [
    ("conv.weight", (4, 3, 2, 2)),
    ("conv.bias", (4,)),
    ("fc.weight", (5, 4)),
    ("fc.bias", (5,)),
    ("s", ()),
]


def _columns(layout: ParamLayout, layer: int) -> list[int]:
    return [
        i for p in layout.layers[layer].parameters for i in range(layout.offsets[p], layout.offsets[p + 1])
    ]


def _beta(theta: Array, layout: ParamLayout, knots: list[int]) -> NDArray[np.float64]:
    """Return eq. 9 of every stretch, from the weights, in float64."""
    wide = theta.astype(np.float64)
    u = np.zeros((len(theta), layout.num_layers))
    for layer in range(layout.num_layers):
        own = wide[:, _columns(layout, layer)]
        norm = [float(np.linalg.norm(own[t + 1] - own[t])) for t in range(len(theta) - 1)]
        for s, (a, b) in enumerate(itertools.pairwise(knots)):
            for t in range(a, b + 1):
                length = sum(norm[a:b])
                u[t, layer] = s + (sum(norm[a:t]) / length if length else (t - a) / (b - a))
    return u


def _at(theta: Array, u: NDArray[np.float64], layout: ParamLayout, knots: list[int], t: float) -> Array:
    """Return eqs. 8 and 10 in float64, element by element."""
    wide = theta.astype(np.float64)
    n = min(int(np.floor(t)), len(theta) - 2)
    out = np.zeros(layout.size)
    for layer in range(layout.num_layers):
        x = (1 - (t - n)) * u[n, layer] + (t - n) * u[n + 1, layer]
        s = min(int(np.floor(x)), len(knots) - 2)
        own = _columns(layout, layer)
        out[own] = (1 - (x - s)) * wide[knots[s]][own] + (x - s) * wide[knots[s + 1]][own]
    return out


@pytest.fixture
def theta() -> Array:
    """Return 13 timesteps; `conv.bias` never moves, `fc.bias` stands still from 3 to 8."""
    rng = np.random.default_rng(7)
    layout = ParamLayout.of(SHAPES)
    theta = rng.standard_normal((13, layout.size)).cumsum(axis=0) * rng.uniform(0.1, 3, (13, 1))
    theta[:, layout.offsets[1] : layout.offsets[2]] = theta[0, layout.offsets[1] : layout.offsets[2]]
    theta[3:9, layout.offsets[3] : layout.offsets[4]] = theta[3, layout.offsets[3] : layout.offsets[4]]
    return theta


@pytest.mark.parametrize("knots", [(), (3, 8), (1, 6, 11)])
@pytest.mark.parametrize("layers", ["tensor", "module", "all"])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_convex_follows_the_papers_equations(
    dtype: str, layers: str, knots: tuple[int, ...], theta: Array, write_bundle: Callable[..., Path]
) -> None:
    """Betas to 1e-12, weights at 100 random t and every timestep to 1e-6 relative, knots bit for bit."""
    layout = ParamLayout.of(SHAPES, dtype=dtype, layers=layers)  # type: ignore[arg-type]
    theta = theta.astype(layout.numpy_dtype)
    all_knots = [0, *knots, 12]
    u = _beta(theta, layout, all_knots)
    with trajfmt.open(write_bundle(layout, theta, knots=knots)) as bundle:
        item = bundle[0]
        assert isinstance(item, ConvexTrajectory)
        assert item.knots == tuple(all_knots)
        assert np.abs(item.u - u).max() <= 1e-12
        for k, t in enumerate(all_knots):
            assert item.knot(k).tobytes() == item.at(t).tobytes() == theta[t].tobytes()
        rng = np.random.default_rng(1)
        tolerance = 2e-3 if dtype == "F16" else 1e-6
        for t in [*rng.uniform(0, 12, 100).tolist(), *range(13)]:
            expected = _at(theta, u, layout, all_knots, t)
            scale = np.abs(theta[all_knots]).max(axis=0) if dtype == "F16" else np.abs(expected)
            assert (np.abs(item.at(t).astype(np.float64) - expected) <= tolerance * scale + 1e-12).all()


def test_weights_between_knots_are_rounded_once(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """The result is within one unit in the last place of the exact value."""
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    with trajfmt.open(write_bundle(layout, theta)) as bundle:
        for t in (0.1, 3.7, 11.99):
            exact = _at(theta, bundle[0].u, layout, [0, 12], t)  # type: ignore[attr-defined]
            found = bundle[0].at(t)
            assert (np.abs(found.astype(np.float64) - exact) <= np.spacing(np.abs(exact.astype("<f4")))).all()


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_single_step(dtype: str, write_bundle: Callable[..., Path]) -> None:
    """T = 1 is a straight line, from one end to the other."""
    layout = ParamLayout.of([("w", (3,))], dtype=dtype)  # type: ignore[arg-type]
    theta = np.array([[0, 2, -4], [4, 2, 4]], layout.numpy_dtype)
    with trajfmt.open(write_bundle(layout, theta)) as bundle:
        assert [bundle[0].at(t).tolist() for t in (0, 0.25, 0.5, 1)] == [
            [0, 2, -4],
            [1, 2, -2],
            [2, 2, 0],
            [4, 2, 4],
        ]


def test_layer_that_never_moves_keeps_its_weights(write_bundle: Callable[..., Path]) -> None:
    """Its beta is t / T, and its weights are the same at every t, in every bit."""
    layout = ParamLayout.of([("w", (1,)), ("still", (3,))])
    theta = np.array([[t * t, 0.1, -0.0, 1e-45] for t in range(5)], "<f4")
    with trajfmt.open(write_bundle(layout, theta, knots=(2,))) as bundle:
        item: Any = bundle[0]
        assert item.u[:, 1].tolist() == [0, 0.5, 1, 1.5, 2]
        for t in np.linspace(0, 4, 33):
            assert item.at(t)[1:].tobytes() == theta[0, 1:].tobytes()


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_smoothing_averages_knots_after_the_betas(
    dtype: str, theta: Array, write_bundle: Callable[..., Path]
) -> None:
    """Inserted knots become the mean of their neighbours, the last that of the last two; betas stay."""
    layout = ParamLayout.of(SHAPES, dtype=dtype)  # type: ignore[arg-type]
    theta = theta.astype(layout.numpy_dtype)
    path = write_bundle(layout, theta, knots=(1, 5, 11), smooth=True)
    with trajfmt.open(path) as bundle:
        item: Any = bundle[0]
        wide = theta.astype(np.float64)
        expected = [
            wide[0],
            *((wide[t - 1] + wide[t + 1]) / 2 for t in (1, 5, 11)),
            (wide[11] + wide[12]) / 2,
        ]
        for k, direct in enumerate(expected):
            assert item.knot(k).tobytes() == direct.astype(layout.numpy_dtype).tobytes()
        assert np.abs(item.u - _beta(theta, layout, [0, 1, 5, 11, 12])).max() <= 1e-12
    assert json.loads((path / "manifest.json").read_bytes())["smoothed"] is True


def test_gram_matrix_keeps_the_shape_of_the_path(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """Distances between any two original timesteps follow from it."""
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    with trajfmt.open(write_bundle(layout, theta, gram=True)) as bundle:
        gram = bundle[0].gram  # type: ignore[attr-defined]
        moved = theta.astype(np.float64) - theta[0].astype(np.float64)
        assert np.allclose(gram, moved @ moved.T, rtol=0, atol=1e-11 * np.abs(gram).max())


def test_knot_file_is_what_safetensors_reads(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """The library finds every tensor, bit for bit, and the one metadata key."""
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    path = write_bundle(layout, theta, knots=(4,)) / "knots/00000.safetensors"
    tensors = load_file(path)
    assert len(tensors) == 15
    for t in (0, 4, 12):
        for name, view in layout.split(theta[t]).items():
            assert tensors[f"{t:05d}/{name}"].shape == view.shape
            assert tensors[f"{t:05d}/{name}"].tobytes() == view.tobytes()
    with safe_open(path, "np") as file:
        assert file.metadata() == {"trajfmt": '{"encoding":"convex","knots":[0,4,12]}'}


def test_knot_file_bytes(write_bundle: Callable[..., Path]) -> None:
    """Length, header, spaces up to 64, knots: nothing else, in exactly this form."""
    layout = ParamLayout.of([("b", (2,)), ("a", ())], dtype="F16")
    theta = np.array([[1, 2, 3], [4, 5, 6], [-0.0, 8, 9]], "<f2")
    data = (write_bundle(layout, theta) / "knots/00000.safetensors").read_bytes()
    entries = {"__metadata__": {"trajfmt": '{"encoding":"convex","knots":[0,2]}'}}
    for t, base in ((0, 0), (2, 6)):
        entries[f"{t:05d}/b"] = {"dtype": "F16", "shape": [2], "data_offsets": [base, base + 4]}
        entries[f"{t:05d}/a"] = {"dtype": "F16", "shape": [], "data_offsets": [base + 4, base + 6]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    assert data == struct.pack("<Q", len(text)) + text + theta[0].tobytes() + theta[2].tobytes()


def test_tables_are_what_hdf5_reads(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """Stock h5py finds plain contiguous float64 at the recorded offsets, one group per trajectory."""
    layout = ParamLayout.of(SHAPES, layers="module")
    theta = theta.astype("<f4")
    path = write_bundle(layout, theta, theta[::-1].copy())
    entries = json.loads((path / "manifest.json").read_bytes())["trajectories"]
    raw = (path / "tables/00000.h5").read_bytes()
    with h5py.File(path / "tables/00000.h5") as file, trajfmt.open(path) as bundle:
        assert sorted(file) == ["00000", "00001"]
        for number, entry in enumerate(entries):
            group, item = file[f"{number:05d}"], bundle[number]
            assert sorted(group) == ["step_norms", "u"]
            for name in group:
                dataset = group[name]
                assert (dataset.dtype.str, dataset.chunks, dataset.compression) == ("<f8", None, None)
                assert dataset.id.get_offset() == entry["table"][name]
                assert (dataset[()] == getattr(item, name)).all()
                size = dataset.size * 8
                assert raw[entry["table"][name] :][:size] == dataset[()].tobytes()


@pytest.mark.parametrize("chunk", [2**20, 7])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_full_is_bit_identical(
    codec: str,
    dtype: str,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
    write_bundle: Callable[..., Path],
) -> None:
    """Any finite bits come back, in order and at random, with parameters in one chunk and across several."""
    monkeypatch.setattr(encoder, "MAX_CHUNK", chunk)
    monkeypatch.setattr(writer, "MAX_CHUNK", chunk)
    layout = ParamLayout.of(SHAPES, dtype=dtype)  # type: ignore[arg-type]
    width = layout.numpy_dtype.itemsize
    bits = np.random.default_rng(3).integers(0, 256, (19, layout.nbytes), np.uint8)
    theta = bits.view(layout.numpy_dtype)
    theta = np.where(np.isfinite(theta), theta, layout.numpy_dtype.type(-0.0))
    theta[:, :5] = np.array(
        [-0.0, 0.0, 1, np.finfo(theta.dtype).max, np.finfo(theta.dtype).smallest_subnormal]
    )
    path = write_bundle(layout, theta, encoding="full", codec=codec)
    manifest = json.loads((path / "manifest.json").read_bytes())
    with trajfmt.open(path, verify=True) as bundle:
        item: Any = bundle[0]
        order = np.random.default_rng(0).permutation(19)
        assert all(item.at(int(t)).tobytes() == theta[t].tobytes() for t in order)
        assert b"".join(row.tobytes() for row in item.rows()) == theta.tobytes()
    if codec == "none":
        offset = manifest["trajectories"][0]["data"]
        raw = (path / "theta/00000.h5").read_bytes()
        assert raw[offset : offset + 19 * layout.size * width] == theta.tobytes()
        assert offset % 64 == 0
    else:
        assert manifest["codec"]["chunk"] <= chunk
        pieces = -(-layout.size // manifest["codec"]["chunk"])
        assert len(manifest["trajectories"][0]["chunks"]["offsets"]) == 19 * pieces
        assert pieces == (1 if chunk > layout.size else -(-layout.size // 7))


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_theta_is_what_stock_hdf5_reads(codec: str, theta: Array, write_bundle: Callable[..., Path]) -> None:
    """h5py, for zstd with hdf5plugin, reads dataset `theta`."""
    if codec == "zstd":
        pytest.importorskip("hdf5plugin")
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    path = write_bundle(layout, theta, encoding="full", codec=codec)
    with h5py.File(path / "theta/00000.h5") as file:
        assert list(file) == ["theta"]
        assert file["theta"].dtype.str == "<f4"
        assert file["theta"][()].tobytes() == theta.tobytes()


def test_archive_is_what_the_specification_says(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """Dataset `delta` holds bits at keyframes and zigzag differences between them."""
    pytest.importorskip("hdf5plugin")
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    path = write_bundle(layout, theta, encoding="full", codec="archive")
    with h5py.File(path / "theta/00000.h5") as file:
        assert file["delta"].attrs["keyframe"] == KEYFRAME
        codes = file["delta"][()].astype(object)
    bits = theta.view("<u4").astype(object)
    for t in range(13):
        if t % KEYFRAME == 0:
            assert (codes[t] == bits[t]).all()
            continue
        signed = (bits[t] - bits[t - 1] + 2**31) % 2**32 - 2**31
        assert (codes[t] == np.where(signed >= 0, 2 * signed, -2 * signed - 1)).all()


def test_archive_is_smaller_than_zstd_on_a_slow_walk(write_bundle: Callable[..., Path]) -> None:
    """Small steps leave small differences: that is what the codec is for."""
    layout = ParamLayout.of([("w", (20000,))])
    rng = np.random.default_rng(0)
    theta = (rng.standard_normal(20000) + 1e-4 * rng.standard_normal((9, 20000)).cumsum(0)).astype("<f4")
    size = {}
    for codec in ("none", "zstd", "archive"):
        path = write_bundle(layout, theta, name=f"{codec}.mtt", encoding="full", codec=codec)
        size[codec] = (path / "theta/00000.h5").stat().st_size
    assert size["archive"] < 0.8 * size["zstd"] < 0.8 * size["none"]


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=5),
    timesteps=st.integers(2, 7),
    options=st.sampled_from(
        [{"codec": "none"}, {"codec": "zstd"}, {"codec": "archive"}, {"encoding": "convex"}]
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_layout_round_trips(
    shapes: list[list[int]],
    timesteps: int,
    options: dict[str, Any],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Scalars, empty parameters and single elements: knots come back bit for bit."""
    layout = ParamLayout.of([*((f"p{i}", shape) for i, shape in enumerate(shapes)), ("last", (1,))])
    theta = np.random.default_rng(seed).standard_normal((timesteps, layout.size)).astype("<f4")
    path = tmp_path_factory.mktemp("any") / "out"
    with trajfmt.create(path, layout, **({"encoding": "full"} | options)) as writer:
        writer.add(ArrayTrajectory(theta, layout))
    with trajfmt.open(path, verify=True) as bundle:
        for k, t in enumerate(bundle[0].knots):
            assert bundle[0].knot(k).tobytes() == bundle[0].at(t).tobytes() == theta[t].tobytes()
