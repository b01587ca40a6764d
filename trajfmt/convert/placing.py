"""Knots that a conversion places where they miss the paths of the source least.

All trajectories of a bundle have the same knots, so the misses are added over the trajectories. This takes a
pass of its own over the source, which measures the Gram matrix of each trajectory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from trajfmt.convert.intake import Intake, Prepared, located_error
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.encoding import Encoding
from trajfmt.errors import CorruptError, SourceError, UsageError, counted
from trajfmt.storage.address import Place
from trajfmt.trajectory.measure import GRAM_LIMIT, Measure
from trajfmt.trajectory.placement import misses, placed
from trajfmt.trajectory.source import Convexified, columns

__all__ = ["provisional", "with_knots"]


def provisional(options: ConvertOptions, count: int | None = None) -> ConvertOptions:
    """Return options with `count` inserted knots, or with all, at the first timesteps that are possible."""
    first = _margin(options)
    knots = tuple(range(first, first + (options.place - 2 if count is None else count)))
    return dataclasses.replace(options, place=0, knots=knots, placed=True)


def with_knots(source: Place, encoding: Encoding, options: ConvertOptions, workers: int) -> ConvertOptions:
    """Return options whose knots are placed where they miss the trajectories of a source least.

    Args:
        source: the source.
        encoding: the encoding of the bundle to write.
        options: the options of the conversion, with a number of knots to place.
        workers: number of threads.

    Raises:
        SourceError: a trajectory must not be converted, and `keep_going` was not given.
        UsageError: the options do not apply to the source or the encoding, or the trajectories have different
            numbers of timesteps, or too many.
    """
    intake = Intake(source, encoding, provisional(options, 1))
    total, timesteps = np.zeros((0, 0)), 0
    with ThreadPoolExecutor(workers, "place") as pool, threadpool_limits(1, "blas"), _stopping(intake):
        for part in intake.parts.values():
            numbered = enumerate(intake.open(part, lambda _text: None))
            while batch := list(islice(numbered, workers)):
                ready = []
                for number, trajectory in batch:
                    try:
                        prepared = intake.prepare(trajectory, lambda _text: None)
                        timesteps = _same(timesteps, prepared.source.timesteps)
                    except (SourceError, CorruptError) as exc:
                        if not options.keep_going:
                            raise located_error(exc, part, number) from exc
                        continue
                    ready.append((number, trajectory, pool.submit(_misses, intake, prepared)))
                for number, trajectory, future in ready:
                    try:
                        found = future.result()
                        total = found if not total.size else total + found
                    except (SourceError, CorruptError) as exc:
                        if not options.keep_going:
                            raise located_error(exc, part, number) from exc
                    finally:
                        trajectory.close()
    if not total.size:
        raise SourceError(
            "nothing_to_convert", "no trajectory can be converted", path=intake.collection.folder
        )
    knots = placed(total, options.place, margin=_margin(options))
    return dataclasses.replace(options, place=0, knots=knots[1:-1], placed=True)


@contextmanager
def _stopping(intake: Intake) -> Iterator[None]:
    """Make all further reads fail if the block does, so that nobody waits for those of other threads."""
    try:
        yield
    except BaseException:
        intake.stop()
        raise


def _margin(options: ConvertOptions) -> int:
    """Return how far knots must be from the endpoints, so that their means are possible."""
    return 1 if options.average == 1 else options.average // 2 + 1


def _same(first: int, timesteps: int) -> int:
    """Return the number of timesteps, after a check that all trajectories have it, and a Gram matrix with it.

    Raises:
        UsageError: they have not.
    """
    if first and first != timesteps:
        raise UsageError(
            f"knots are placed for trajectories of one length, but some have {first} timesteps and others"
            f" {timesteps}; give the knots as numbers, or select timesteps that all have"
        )
    if timesteps > GRAM_LIMIT + 1:
        raise UsageError(
            f"knots are placed on trajectories of at most {GRAM_LIMIT + 1} timesteps, got"
            f" {counted(timesteps, 'timestep')}; give the knots as numbers, or select fewer timesteps"
        )
    return timesteps


def _misses(intake: Intake, prepared: Prepared) -> NDArray[np.float64]:
    """Return the misses of all segments of a trajectory."""
    source, layout = prepared.source, prepared.layout
    assert intake.identity is not None
    assert not isinstance(source, Convexified)  # which `Intake` refuses
    measure = Measure(source.timesteps, layout, gram=True)
    for block in columns(source, layout, cast=intake.identity.cast):
        measure.add(block)
    gram = measure.result().gram
    assert gram is not None
    return misses(gram)
