"""Trajectories as sequences: what an array `(T+1, P)` of all timesteps answers, they answer too."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trajfmt
from trajfmt import ParamLayout, TimestepError
from trajfmt.notebooks.card import LIMIT

OPTIONS: list[dict[str, Any]] = [
    {"encoding": "convex", "knots": (5, 9)},
    {"encoding": "full", "codec": "none"},
    {"encoding": "full", "codec": "zstd"},
    {"encoding": "full", "codec": "archive"},
]
COUNT = 21
"""Timesteps: more than one keyframe of the codec `archive`."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[trajfmt.Bundle]:
    """Return one bundle of each kind."""
    layout = ParamLayout.of([("w", (40, 50)), ("b", (3,))])
    steps = np.random.default_rng(0).standard_normal((COUNT, layout.size)) * 0.01
    theta = steps.cumsum(axis=0).astype(np.float32)
    found = []
    for number, options in enumerate(OPTIONS):
        path = tmp_path_factory.mktemp("all") / f"{number}.{'mct' if 'knots' in options else 'mtt'}"
        with trajfmt.create(path, layout, **options) as writer:
            writer.add(trajfmt.ArrayTrajectory(theta, layout))
        found.append(trajfmt.open(path))
    return found


@settings(max_examples=40, deadline=None)
@given(
    first=st.none() | st.integers(-30, 30),
    after=st.none() | st.integers(-30, 30),
    step=st.none() | st.integers(-7, 7).filter(bool),
)
def test_slices_are_those_of_an_array(
    bundles: list[trajfmt.Bundle], first: int | None, after: int | None, step: int | None
) -> None:
    """Any slice of any encoding: bit for bit the rows that numpy would give."""
    for bundle in bundles:
        trajectory = bundle[0]
        rows = np.stack([trajectory.at(t) for t in range(COUNT)])
        found = trajectory[first:after:step]
        expected = rows[first:after:step]
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()


def test_length_indices_and_iteration(bundles: list[trajfmt.Bundle]) -> None:
    """Negative indices count from the end; every result is a new array that may be written."""
    for bundle in bundles:
        trajectory = bundle[0]
        rows = np.asarray(trajectory)
        assert (len(trajectory), rows.shape) == (COUNT, (COUNT, bundle.layout.size))
        assert [row.tobytes() for row in trajectory] == [row.tobytes() for row in rows]
        for index in (0, 3, COUNT - 1, -1, -COUNT, np.int64(-2)):
            assert trajectory[index].tobytes() == rows[index].tobytes()
        for array in (trajectory[2], trajectory[1:3], next(iter(trajectory)), trajectory.at([1, 2])):
            array += 1
        assert trajectory[2].tobytes() == rows[2].tobytes()
        assert np.asarray(trajectory, np.float64).dtype == np.float64
        with pytest.raises(ValueError, match="cannot be done without a copy"):
            trajectory.__array__(copy=False)


@pytest.mark.parametrize("kind", [list, tuple, np.array, iter])
def test_several_timesteps_are_those_one_by_one(
    bundles: list[trajfmt.Bundle], kind: Callable[[list[float]], Any]
) -> None:
    """In any order, repeated, and from any sequence; real ones where the encoding has them."""
    for bundle in bundles:
        trajectory = bundle[0]
        wanted = [1, 2.5, 9, 20, 0.25, 2.5] if bundle.encoding == "convex" else [1, 17, 9, 20, 0, 17]
        found = trajectory.at(kind(wanted))
        assert found.tobytes() == np.stack([trajectory.at(t) for t in wanted]).tobytes()
        assert trajectory.at(kind([])).shape == (0, bundle.layout.size)
        assert trajectory.at(np.float64(3)).shape == (bundle.layout.size,)


def test_a_timestep_may_be_a_number_of_another_library(bundles: list[trajfmt.Bundle]) -> None:
    """Tensors and fractions are the numbers that they stand for, alone and in a sequence."""
    for bundle in bundles:
        trajectory, t = bundle[0], 2.5 if bundle.encoding == "convex" else 17.0
        wanted = trajectory.at(t).tobytes()
        for number in (torch.tensor(t), torch.tensor(t, dtype=torch.float64), Fraction(t)):
            assert trajectory.at(number).tobytes() == wanted  # type: ignore[arg-type]
            assert trajectory.at([number])[0].tobytes() == wanted  # type: ignore[list-item]
        for mine, theirs in zip(trajectory.locate(torch.tensor(t)), trajectory.locate(t), strict=True):  # type: ignore[arg-type]
            assert mine.tobytes() == theirs.tobytes()


def test_what_is_no_timestep_is_refused(bundles: list[trajfmt.Bundle]) -> None:
    """Beyond the ends, not whole, not a number, in one of several: one clear error each."""
    for bundle in bundles:
        trajectory = bundle[0]
        for index in (COUNT, -COUNT - 1):
            with pytest.raises(TimestepError, match=rf"must lie in \[0, 20\], or \[-21, -1\], got {index}"):
                trajectory[index]
        for index in (2.5, "1", None, [0, 1]):
            with pytest.raises(TypeError, match="or a slice; `at` takes real timesteps"):
                trajectory[index]
        with pytest.raises(TimestepError, match=r"must lie in \[0, 20\], got 21"):
            trajectory.at([0, 21])
        with pytest.raises(TypeError, match=r"`t\[1\]` must be a number, got '2'"):
            trajectory.at([0, "2"])  # type: ignore[list-item]
    with pytest.raises(TimestepError, match="only whole timesteps"):
        bundles[1][0].at([1, 2.5])


def test_shown_without_reading_weights(bundles: list[trajfmt.Bundle]) -> None:
    """Texts and HTML of bundle, trajectory and layout come from the manifest: no other file is opened."""
    for bundle, options in zip(bundles, OPTIONS, strict=True):
        again = trajfmt.Bundle(bundle.path, (bundle.path / "manifest.json").read_bytes())
        again.files.root = Path("/nowhere")  # a file that is opened is an error now
        assert repr(again[0]) == (
            f"<trajfmt.Trajectory 0: 21 timesteps{', knots 0, 5, 9, 20' if 'knots' in options else ''},"
            " 2,003 weights F32>"
        )
        assert repr(again.layout) == "<trajfmt.ParamLayout: 2 parameters, 2,003 weights F32, 2 layers>"
        assert repr(again).endswith(f"{options['encoding']}, 1 trajectory>")
        for shown in (again, again[0], again.layout):
            assert len(shown._repr_html_()) < LIMIT
        with pytest.raises(trajfmt.FormatError):
            again[0].at(1)


def test_html_of_large_bundles_is_small(tmp_path: Path) -> None:
    """Hundreds of parameters with long names in markup: escaped, cut, and the rest is counted."""
    layout = ParamLayout.of([(f"<b>&'{number}" + "é" * 900, (1,)) for number in range(300)])
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        for seed in range(2):
            theta = np.random.default_rng(seed).random((3, 300), np.float32)
            writer.add(trajfmt.ArrayTrajectory(theta, layout))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        for shown in (bundle, bundle[0], bundle.layout):
            found = shown._repr_html_()
            assert len(found.encode()) <= LIMIT
            assert "<b>" not in found
        assert "… and 280 more" in bundle.layout._repr_html_()
