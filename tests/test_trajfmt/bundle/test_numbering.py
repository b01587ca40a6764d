"""The steps of the source that timesteps were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.carried import Carrier
from trajfmt import ParamLayout
from trajfmt.bundle.numbering import numbering_of, numbers, step_of
from trajfmt.schema.provenance import Provenance, TimestepUnit

VECTORS = Path(__file__).parents[3] / "spec" / "v1" / "vectors" / "valid"


def test_recorded_numbers() -> None:
    """At a timestep, and between two."""
    with trajfmt.open(VECTORS / "convex-carrying.mct") as bundle:
        known = bundle[0].numbers
        assert known is not None
        assert tuple(numbers(bundle, bundle[0])) == known
        assert step_of(bundle, bundle[0], 1.0).endswith(f" {known[1]}")
        assert f"{known[0]} and {known[1]}" in step_of(bundle, bundle[0], 0.5)


def test_numbers_from_the_unit(
    layout: ParamLayout, walk: Callable[..., NDArray[np.generic]], tmp_path: Path
) -> None:
    """They follow from the unit and the first timestep; without a unit, nothing is known."""
    about = Provenance(timestep=TimestepUnit(kind="epoch", every=5), first_timestep=2)
    for name, provenance in (("a.mct", about), ("b.mct", Provenance())):
        with trajfmt.create(tmp_path / name, layout, encoding="convex", provenance=provenance) as writer:
            writer.add(trajfmt.ArrayTrajectory(walk(layout, 4), layout))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        assert step_of(bundle, bundle[0], 1) == "epoch 15"
        assert step_of(bundle, bundle[0], 2.5) == "between epoch 20 and 25"
    with trajfmt.open(tmp_path / "b.mct") as bundle:
        assert step_of(bundle, bundle[0], 1) == ""


EPOCHS, STEPS = TimestepUnit(kind="epoch"), TimestepUnit(kind="step")


@pytest.mark.parametrize(
    ("unit", "first", "rows", "words", "epochs"),
    [
        (None, None, [None, None], "", True),
        (None, None, [(0, 1, 2)], "numbers 0 to 2, 1 apart", True),
        (None, None, [(0, 21, 42)], "numbers 0 to 42, 21 apart", False),
        (None, None, [None, (0, 21, 42, 63)], "numbers 0 to 63, not the same in all trajectories", False),
        (EPOCHS, None, [None, None], "one epoch each", True),
        (EPOCHS, 10, [None], "one epoch each, from epoch 10 on", False),
        (TimestepUnit(kind="epoch", every=5), 2, [None], "5 epochs each, from epoch 10 on", False),
        (STEPS, None, [(500, 1000, 1500, 1873)], "steps 500 to 1873, unevenly spaced", False),
        (STEPS, None, [(0, 1, 2, 4), (0, 1, 2)], "steps 0 to 4, unevenly spaced", False),
        (EPOCHS, None, [None, (0, 3, 6)], "epochs 0 to 6, not the same in all trajectories", False),
        (STEPS, None, [(10, 20), (30, 40)], "steps 10 to 40, not the same in all trajectories", False),
        (EPOCHS, None, [(0, 1, 2, 3), None], "one epoch each", True),
    ],
)
def test_what_one_timestep_is(layout, walk, tmp_path: Path, unit, first, rows, words, epochs) -> None:
    """Epochs or steps are only claimed if all timesteps of all trajectories are so far apart."""
    about = Provenance(timestep=unit, first_timestep=first)
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", provenance=about) as writer:
        for seed, row in enumerate(rows):
            theta = walk(layout, timesteps=3 if row is None else len(row), seed=seed)
            writer.add(Carrier(theta, layout, numbers=row))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        found = numbering_of(bundle.manifest)
    assert (found.words, found.counts_epochs) == (words, epochs)
    assert found.uneven == (words[words.index(",") :] if "spaced" in words or "same" in words else "")
