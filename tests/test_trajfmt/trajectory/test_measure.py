"""One pass over a trajectory against direct float64 arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from trajfmt import ArrayTrajectory, ParamLayout, SourceError
from trajfmt.trajectory.measure import GRAM_LIMIT, Measure, Measured
from trajfmt.trajectory.source import columns


def _measure(theta: NDArray[np.generic], layout: ParamLayout) -> Measured:
    measure = Measure(len(theta), layout, gram=True)
    for block in columns(ArrayTrajectory(theta, layout), layout):
        measure.add(block)
    return measure.result()


@pytest.mark.parametrize("layers", ["tensor", "module", "all"])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_step_norms_and_gram_match_direct_computation(
    dtype: str, layers: str, walk: Callable[..., NDArray[np.generic]]
) -> None:
    """Norms per layer to 1e-13 relative; inner products of theta(t) - theta(0) to 1e-11 of the largest."""
    shapes = [("a.w", (7, 3)), ("b.w", (2,)), ("a.b", (7,)), ("s", ())]
    layout = ParamLayout.of(shapes, dtype=dtype, layers=layers)  # type: ignore[arg-type]
    theta = walk(layout, timesteps=9)
    path = _measure(theta, layout)
    wide = theta.astype(np.float64)
    for index, layer in enumerate(layout.layers):
        columns_ = [range(layout.offsets[p], layout.offsets[p + 1]) for p in layer.parameters]
        own = wide[:, [i for column in columns_ for i in column]]
        direct = np.sqrt((np.diff(own, axis=0) ** 2).sum(axis=1))
        assert np.allclose(path.step_norms[:, index], direct, rtol=1e-13, atol=0)
    moved = wide - wide[0]
    direct = moved @ moved.T
    assert path.gram is not None
    assert np.abs(path.gram - direct).max() <= 1e-11 * np.abs(direct).max()
    assert (path.gram == path.gram.T).all()
    assert not path.gram[0].any()


def test_blocks_smaller_than_a_parameter_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one block of a parameter sees and what nine see is the same trajectory."""
    layout = ParamLayout.of([("w", (1100,)), ("b", (3,))])
    theta = np.random.default_rng(0).standard_normal((5, layout.size)).astype("<f4")
    counts = [len(list(columns(ArrayTrajectory(theta, layout), layout)))]
    whole = _measure(theta, layout)
    monkeypatch.setattr("trajfmt.trajectory.source.BLOCK_BYTES", 1)
    counts.append(len(list(columns(ArrayTrajectory(theta, layout), layout))))
    parts = _measure(theta, layout)
    assert counts == [2, 10]
    assert whole.digest == parts.digest
    assert np.array_equal(whole.step_norms, parts.step_norms)


def test_digest_is_the_hash_of_both_ends_and_the_length(
    layout: ParamLayout, walk: Callable[..., NDArray[np.generic]]
) -> None:
    """72 bytes: sha256 of theta(0), sha256 of theta(T), T + 1."""
    theta = walk(layout)
    ends = b"".join(hashlib.sha256(theta[t].tobytes()).digest() for t in (0, -1))
    expected = hashlib.sha256(ends + (6).to_bytes(8, "little")).hexdigest()
    assert _measure(theta, layout).digest == expected


def test_gram_is_kept_up_to_its_limit(layout: ParamLayout, walk: Callable[..., NDArray[np.generic]]) -> None:
    """T = 256 has one, T = 257 has none, and norms do not depend on it."""
    theta = walk(layout, timesteps=GRAM_LIMIT + 2)
    with_gram, without = _measure(theta[:-1], layout), _measure(theta, layout)
    assert with_gram.gram is not None
    assert without.gram is None
    assert np.array_equal(without.step_norms[:-1], with_gram.step_norms)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("t", [0, 2, 5])
def test_weight_that_is_not_finite_is_named(
    value: float, t: int, layout: ParamLayout, walk: Callable[..., NDArray[np.generic]]
) -> None:
    """The message names timestep and parameter."""
    theta = walk(layout)
    theta[t, 7] = value
    with pytest.raises(SourceError, match=rf"timestep {t}, parameter `fc.bias`") as caught:
        _measure(theta, layout)
    assert caught.value.reason == "non_finite"


def test_weight_that_is_infinite_throughout_is_named_without_a_warning(
    layout: ParamLayout, walk: Callable[..., NDArray[np.generic]]
) -> None:
    """inf - inf happens inside, and nobody outside hears of it."""
    theta = walk(layout)
    theta[:, 7] = np.inf
    with pytest.raises(SourceError, match="timestep 0"):
        _measure(theta, layout)


def test_float64_steps_whose_squares_overflow_are_refused_without_a_warning() -> None:
    """1e200 is finite, its square is not."""
    layout = ParamLayout.of([("w", (2,))], dtype="F64")
    with pytest.raises(SourceError, match="overflow"):
        _measure(np.array([[0, 0], [1e200, 1]]), layout)


@pytest.mark.parametrize("exponent", [-400, -470, -565, -1000])
@pytest.mark.parametrize("block", [None, 1])
def test_float64_steps_whose_squares_underflow_have_their_norms(
    exponent: int, block: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights times a power of two have the norms times it, bit for bit, also beside ordinary steps."""
    layout = ParamLayout.of([("w", (1100,)), ("b", (3,))], dtype="F64")
    theta = np.random.default_rng(0).standard_normal((6, layout.size))
    theta[3] = theta[2]
    theta[:, 1100:] = np.round(theta[:, 1100:] * 8)
    wanted = _measure(theta, layout).step_norms
    if block is not None:
        monkeypatch.setattr("trajfmt.trajectory.source.BLOCK_BYTES", block)
    assert np.array_equal(_measure(theta, layout).step_norms, wanted)
    small = np.concatenate([np.ldexp(theta[:4], exponent), theta[4:]])
    found = _measure(small, layout)
    assert np.array_equal(found.step_norms[:3], np.ldexp(wanted[:3], exponent))
    assert np.array_equal(found.step_norms[4], wanted[4])
    assert found.step_norms[2].tolist() == [0.0, 0.0]
    assert found.moves


def test_float64_steps_below_the_normal_numbers_have_no_length() -> None:
    """Such steps have lost their digits, so a layer that only makes them counts as still; it moves anyway."""
    layout = ParamLayout.of([("w", (1,))], dtype="F64")
    found = _measure(np.array([[0.0], [3e-308], [3.1e-308], [3.1e-308]]), layout)
    assert found.step_norms.ravel().tolist() == [3e-308, 0.0, 0.0]
    assert found.moves
    lost = _measure(np.array([[0.0], [1e-308]]), layout)
    assert (lost.step_norms.tolist(), lost.moves) == ([[0.0]], True)
