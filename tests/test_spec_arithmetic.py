"""The arithmetic between knots: section 6.4 against exact numbers, and vectors that pin every step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import trajfmt
from trajfmt.encodings.convex.reader import ConvexTrajectory, interpolate
from trajfmt.trajectory.rounding import narrow

FOLDER = Path(__file__).parents[1] / "spec" / "v1" / "vectors"
CASES: list[dict[str, Any]] = [
    case
    for case in json.loads((FOLDER / "index.json").read_text())["vectors"]
    if case["kind"] == "bundle" and case["valid"] and case["name"].startswith("convex")
]

FORMATS = {"F16": (11, -14, 15), "BF16": (8, -126, 127), "F32": (24, -126, 127), "F64": (53, -1022, 1023)}
"""Bits of the significand, and exponents of the smallest normal and of the largest number."""


def rounded(exact: Fraction, dtype: str) -> float:
    """Return the number of a type that is nearest to an exact one, ties to even."""
    digits, low, high = FORMATS[dtype]
    if not exact:
        return 0.0
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, low) - digits + 1)
    value = round(size / unit) * unit
    result = math.inf if value >= Fraction(2) ** (high + 1) else float(value)
    return math.copysign(result, exact)


def mixed(w: float, a: float, b: float, dtype: str) -> float:
    """Return (1 - w) a + w b by the rule: operations are rounded to float64, and the result to the type."""
    if w in (0.0, 1.0):
        return b if w else a
    left = float(Fraction(float(Fraction(1) - Fraction(w))) * Fraction(a))
    right = float(Fraction(w) * Fraction(b))
    return rounded(Fraction(float(Fraction(left) + Fraction(right))), dtype)


@pytest.mark.parametrize("dtype", FORMATS)
def test_rounding_is_that_of_exact_numbers(dtype: str) -> None:
    """Ties, their neighbours in float64, subnormal numbers and overflow, of either sign."""
    digits, low, high = FORMATS[dtype]
    rng = np.random.default_rng(7)
    values = []
    for bottom, top in ((low - digits - 2, low + 2), (-2, 2), (high - 1, min(high + 1, 1023))):
        ties = 1 + (2 * rng.integers(0, 2 ** min(digits - 1, 51), 40) + 1) * 2.0**-digits
        with np.errstate(over="ignore"):
            ties = np.ldexp(ties, rng.integers(bottom, top + 1, 40))
        values += [ties, np.nextafter(ties, 0), np.nextafter(ties, np.inf), ties * (1 + 2.0**-30)]
    flat = np.concatenate(values)
    flat = np.concatenate([flat, -flat])
    flat = flat[np.isfinite(flat)]
    found = narrow(flat, trajfmt.ParamLayout.of([("w", (1,))], dtype=dtype).numpy_dtype)  # type: ignore[arg-type]
    assert found.astype(np.float64).tolist() == [rounded(Fraction(x), dtype) for x in flat.tolist()]


@pytest.mark.parametrize("dtype", FORMATS)
def test_any_two_knots_mix_by_the_rule(dtype: str) -> None:
    """Random bits of every finite number, and weights with and without a short fraction."""
    layout = trajfmt.ParamLayout.of([("w", (64,))], dtype=dtype)  # type: ignore[arg-type]
    rng = np.random.default_rng(3)
    width = layout.numpy_dtype.itemsize
    for w in (0.0, 1.0, 0.5, 0.75, 0.1, 1 / 3, 2.0**-60, 1 - 2.0**-53, *rng.random(6).tolist()):
        raw = rng.integers(0, 256, (2, 64 * width), np.uint8).view(layout.numpy_dtype)
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(raw.astype("f8"))
        knots = np.where(finite, raw, np.zeros(64, layout.numpy_dtype))
        out = np.empty(64, layout.numpy_dtype)
        segment, weight = np.zeros(1, np.int64), np.array([w])
        interpolate(lambda k, low, high, knots=knots: knots[k, low:high], layout, segment, weight, out)
        a, b = knots.astype("f8").tolist()
        right = np.array([mixed(w, x, y, dtype) for x, y in zip(a, b, strict=True)])
        found = out.astype("f8")
        zeros = (found == 0) & (right == 0)  # the rule of signs is that of the vectors
        assert np.where(zeros, 0, found).tolist() == np.where(zeros, 0, right).tolist()


Mix = Callable[[float, Any, Any], Any]
"""Return the weights between two knots: the weight of the second, and both as float64."""


def fused(x: Any, y: Any, z: Any) -> Any:
    """Return x * y + z, rounded once."""
    one = np.vectorize(
        lambda a, b, c: float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))), otypes=[float]
    )
    return one(x, y, z)


MIXES: dict[str, tuple[Mix, set[str]]] = {
    "a + w (b - a)": (lambda w, a, b: a + w * (b - a), {"F32", "F64"}),
    "b - (1 - w) (b - a)": (lambda w, a, b: b - (1 - w) * (b - a), {"F32", "F64"}),
    "fused with the first product": (lambda w, a, b: fused(1 - w, a, w * b), {"F64"}),
    "fused with the second product": (lambda w, a, b: fused(w, b, (1 - w) * a), {"F64"}),
    "float32": (
        lambda w, a, b: (np.float32(1 - w) * a.astype("f4") + np.float32(w) * b.astype("f4")).astype("f8"),
        set(FORMATS),
    ),
    "rounded to float32 first": (
        lambda w, a, b: ((1 - w) * a + w * b).astype("f4").astype("f8"),
        {"F64", "F16", "BF16"},
    ),
    "subnormal numbers are zero": (lambda w, a, b: (1 - w) * a + w * b, set(FORMATS)),
    "exact, then rounded": (
        lambda w, a, b: np.vectorize(
            lambda x, y: float((1 - Fraction(w)) * Fraction(x) + Fraction(w) * Fraction(y)), otypes=[float]
        )(a, b),
        {"F64"},
    ),
    "a knot is mixed too": (lambda w, a, b: (1 - w) * a + w * b, set(FORMATS)),
}
"""Ways to mix that the rule excludes, with the types for which a vector must show it."""


SMALLEST = {name: 2.0**low for name, (_, low, _) in FORMATS.items()}
"""The smallest normal number of each type."""


def bits(trajectory: ConvexTrajectory, t: float, mix: Mix, name: str) -> bytes:
    """Return the weights at t as another way of mixing gives them."""
    layout = trajectory.layout
    segments, weights = trajectory.locate(t)
    out = np.empty(layout.size, layout.numpy_dtype)
    for start, stop, layer in layout.runs:
        s, w = int(segments[layer]), float(weights[layer])
        a, b = (trajectory.knot(k)[start:stop] for k in (s, s + 1))
        if w in (0.0, 1.0) and name != "a knot is mixed too":
            out[start:stop] = b if w else a
            continue
        with np.errstate(all="ignore"):
            part = narrow(np.asarray(mix(w, a.astype("f8"), b.astype("f8"))), layout.numpy_dtype)
            if name == "subnormal numbers are zero":
                part = np.where(np.abs(part.astype("f8")) < SMALLEST[layout.dtype], 0, part.astype("f8"))
        out[start:stop] = part.astype(layout.numpy_dtype)
    return out.tobytes()


def answers() -> list[tuple[str, Any, float, bytes]]:
    """Return (item type, trajectory, t, expected bytes) of every point of every convex vector."""
    found = []
    for case in CASES:
        bundle = trajfmt.open(FOLDER / case["file"])
        expected = json.loads((FOLDER / case["file"] / "expected.json").read_text())["trajectories"]
        for trajectory, answer in zip(bundle, expected, strict=True):
            for point in answer["weights"]:
                right = np.array([float(x) for x in point["values"]]).astype(bundle.layout.numpy_dtype)
                found.append((bundle.layout.dtype, trajectory, point["t"], right.tobytes()))
    return found


@pytest.mark.parametrize("name", MIXES)
def test_vectors_tell_another_order_of_operations(name: str) -> None:
    """Whoever mixes in this way fails a vector of every type for which it matters."""
    mix, types = MIXES[name]
    seen = {dtype for dtype, trajectory, t, right in answers() if bits(trajectory, t, mix, name) != right}
    assert types - seen == set()


def test_vectors_are_the_rule() -> None:
    """The expected weights are those of exact numbers, rounded where the rule says so."""
    for dtype, trajectory, t, right in answers():
        layout = trajectory.layout
        segments, weights = trajectory.locate(t)
        out = []
        for start, stop, layer in layout.runs:
            s, w = int(segments[layer]), float(weights[layer])
            a, b = (trajectory.knot(k)[start:stop].astype("f8").tolist() for k in (s, s + 1))
            out += [mixed(w, x, y, dtype) for x, y in zip(a, b, strict=True)]
        assert (
            np.array(out).astype(layout.numpy_dtype).astype("f8").tolist()
            == np.frombuffer(right, layout.numpy_dtype).astype("f8").tolist()
        )


def test_position_between_timesteps_is_the_rule() -> None:
    """x = (1 - eta) u(n) + eta u(n + 1), each operation rounded; a vector tells another order."""
    other = 0
    for _, trajectory, t, _ in answers():
        n = min(math.floor(t), trajectory.last - 1)
        eta = t - n
        if not 0 < eta < 1:
            continue
        segments, weights = trajectory.locate(t)
        for layer in range(trajectory.layout.num_layers):
            low, high = float(trajectory.u[n, layer]), float(trajectory.u[n + 1, layer])
            left = float(Fraction(float(1 - Fraction(eta))) * Fraction(low))
            x = float(Fraction(left) + Fraction(float(Fraction(eta) * Fraction(high))))
            other += x != low + eta * (high - low)
            if trajectory.free:
                assert (segments[layer], weights[layer]) == (0, x)
            else:
                s = min(math.floor(x), len(trajectory.knots) - 2)
                assert (segments[layer], weights[layer]) == (s, min(max(x - s, 0.0), 1.0))
    assert other


def test_bfloat16_is_in_the_vectors_below_its_normal_numbers() -> None:
    """A result that no float32 rounds to by itself."""
    held = np.concatenate(
        [
            np.frombuffer(right, ml_dtypes.bfloat16).astype("f8")
            for dtype, _, _, right in answers()
            if dtype == "BF16"
        ]
    )
    assert ((held != 0) & (np.abs(held) < 2.0**-126)).any()
