"""The steps of the source that timesteps were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import trajfmt
from trajfmt import ParamLayout
from trajfmt.bundle.numbering import numbers, step_of
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
