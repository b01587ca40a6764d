"""Write the encoding `convex`: knots and tables of a trajectory, in a single pass over its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.convex.curves import TOLERANCE, check_curve, deviation
from trajfmt.encodings.parts.shards import KnotWriter
from trajfmt.encodings.parts.tables import Tables
from trajfmt.errors import CorruptError, non_finite
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory.averaging import replaced, spans
from trajfmt.trajectory.beta import check_knots, curve
from trajfmt.trajectory.measure import Digest, Measure, Measured, halfway
from trajfmt.trajectory.recorder import Recorded
from trajfmt.trajectory.rounding import Rounding, finite, narrow
from trajfmt.trajectory.source import BLOCK_BYTES, Block, Convexified, Identified, Source, checked, columns

__all__ = ["Pass", "write", "write_convexified", "write_recorded"]

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Pass:
    """The results of a pass over a trajectory, besides the knot files."""

    tables: Tables
    digest: str
    """Digest of the original trajectory as hexadecimal text."""

    moves: bool
    """Whether the weights change at all."""

    rounding: tuple[Rounding, ...]
    """Rounding error of each knot; empty if the weights are stored in their own type."""


def write(
    knot_files: KnotWriter,
    source: Source,
    layout: ParamLayout,
    knots: Sequence[int],
    *,
    smooth: bool,
    gram: bool,
    average: int = 1,
    cast: bool = False,
) -> Pass:
    """Convexify a trajectory, reading every waypoint once.

    Args:
        knot_files: receives the knots.
        source: the trajectory.
        layout: the parameter layout, in the type that is stored.
        knots: timesteps of the knots, from 0 to T.
        smooth: replace inserted waypoints by the mean of their two neighbours, and the last timestep by the
            mean of the last two, as the MCT authors' code does. The first timestep does not change. Betas
            are computed from the original weights.
        gram: compute the Gram matrix.
        average: number of timesteps of which every knot but the first is the mean; 1 for none.
        cast: accept weights of other float types. They are rounded to the type of the layout when they are
            stored; betas, means and the Gram matrix use the original weights.

    Raises:
        SourceError: a weight is not finite, or overflows the type that is stored.
        UsageError: the source does not fit the parameter layout.
    """
    measure = Measure(source.timesteps, layout, gram=gram)
    rounding: list[Rounding] = []
    means = spans(knots, average)
    for original in columns(source, layout, cast=cast):
        block = replaced(original, means, layout) if means else original
        measure.add(block)
        for number, t in enumerate(knots):
            exact = _knot(block, t, smooth=smooth)
            stored = narrow(exact, layout.numpy_dtype)
            if block.rows[t].dtype != layout.numpy_dtype:
                rounding = rounding or [Rounding()] * len(knots)
                rounding[number] += _rounded(exact, stored, t, layout, block.parameter)
            knot_files.write(number, block.start, stored)
    measured = measure.result()
    return Pass(_tables(measured, knots), measured.digest, measured.moves, tuple(rounding))


def _knot(block: Block, t: int, *, smooth: bool) -> Array:
    """Return the elements of a block at timestep t, averaged in float64 with their neighbours if `smooth`."""
    row = block.rows[t]
    if not smooth or t == 0:
        return row
    last = len(block.rows) - 1
    return halfway(block.rows[t - 1], row if t == last else block.rows[t + 1])


def _rounded(exact: Array, stored: Array, t: int, layout: ParamLayout, parameter: int) -> Rounding:
    """Return the rounding error of elements of a parameter at timestep t.

    Raises:
        SourceError: a weight overflows the type that is stored.
    """
    if not finite(stored):
        raise non_finite(t, layout.parameters[parameter].name, f"too large for {layout.dtype}")
    return Rounding.of(exact, stored)


def write_recorded(knot_files: KnotWriter, recorded: Recorded, layout: ParamLayout) -> Pass:
    """Write a trajectory that a recorder has convexified.

    Args:
        knot_files: receives the knots.
        recorded: the trajectory.
        layout: the parameter layout.
    """
    for number, row in enumerate(recorded.rows):
        for start, stop in zip(layout.offsets, layout.offsets[1:], strict=False):
            knot_files.write(number, start, row[start:stop])
    measured = recorded.measured
    return Pass(_tables(measured, recorded.knots), measured.digest, measured.moves, ())


def write_convexified(
    knot_files: KnotWriter, source: Convexified, layout: ParamLayout, *, cast: bool = False
) -> Pass:
    """Write a trajectory that is convexified already, with its own knots and tables.

    Args:
        knot_files: receives the knots.
        source: the trajectory.
        layout: the parameter layout, in the type that is stored.
        cast: accept weights of other float types and round them to the type of the layout.

    Raises:
        CorruptError: a table breaks a rule of the format, or the source has another digest than its knots.
        SourceError: a weight is not finite, or overflows the type that is stored.
        UsageError: the source does not fit the parameter layout.
    """
    knots = check_knots(source.knots, source.timesteps - 1)
    tables = _checked_tables(source, layout, knots)
    identity = Digest(source.timesteps, layout.numpy_dtype)
    length = BLOCK_BYTES // 8
    rounding: list[Rounding] = []
    for number, t in enumerate(knots):
        for index, parameter in enumerate(layout.parameters):
            values = checked(source, layout, number, index, cast=cast)
            for low in range(0, parameter.size, length):
                row = values[low : low + length]
                if not finite(row):
                    raise non_finite(t, parameter.name)
                stored = narrow(row, layout.numpy_dtype)
                if stored is not row:
                    rounding = rounding or [Rounding()] * len(knots)
                    rounding[number] += _rounded(row, stored, t, layout, index)
                identity.add(t, stored)
                knot_files.write(number, layout.offsets[index] + low, stored)
    digest = identity.digest()
    if isinstance(source, Identified) and not rounding:
        if not source.smoothed and source.digest != digest:
            raise CorruptError("hash_mismatch", "the recorded digest differs from that of its endpoints")
        digest = source.digest
    return Pass(tables, digest, identity.moves or len(knots) > 2, tuple(rounding))


def _checked_tables(source: Convexified, layout: ParamLayout, knots: Sequence[int]) -> Tables:
    """Check the tables of a convexified trajectory, and return them.

    Raises:
        CorruptError: a table breaks a rule of the format.
    """
    u = np.asarray(source.u, np.float64)
    norms = None if source.step_norms is None else np.asarray(source.step_norms, np.float64)
    expected = (source.timesteps, layout.num_layers)
    if u.shape != expected or (norms is not None and norms.shape != (expected[0] - 1, expected[1])):
        found = u.shape if norms is None else (u.shape, norms.shape)
        raise CorruptError("beta_invalid", f"the beta table must have shape {expected}, got {found}")
    if source.free and len(knots) != 2:
        raise CorruptError("beta_invalid", f"a free table requires two knots, got {len(knots)}")
    if norms is not None and not (np.isfinite(norms) & (norms >= 0)).all():
        raise CorruptError("beta_invalid", "step norms must be finite and >= 0")
    check_curve(u, knots, None, free=source.free)
    if norms is not None and not source.free and not (error := deviation(u, norms, knots)) <= TOLERANCE:
        message = f"beta must follow from the step norms by eq. 9, differs by {error:.2g}"
        raise CorruptError("beta_invalid", message)
    gram = source.gram if isinstance(source, Identified) else None
    if gram is not None and not np.isfinite(gram).all():
        raise CorruptError("beta_invalid", "the Gram matrix must be finite")
    return Tables(u, norms, gram)


def _tables(measured: Measured, knots: Sequence[int]) -> Tables:
    return Tables(curve(measured.step_norms, knots), measured.step_norms, measured.gram)
