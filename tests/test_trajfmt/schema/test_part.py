"""The part of a larger bundle that a bundle says it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt import ArrayTrajectory, CorruptError, ParamLayout, UsageError
from trajfmt.schema import Part

Walk = Callable[..., Any]


@pytest.mark.parametrize(("numbers", "of"), [((), 3), ((3,), 3), ((-1,), 3), ((1, 1), 3), ((2, 1), 3)])
def test_numbers_that_cannot_be_are_refused(numbers: tuple[int, ...], of: int) -> None:
    """They rise, and lie within the whole."""
    with pytest.raises(UsageError, match=f"must rise and be below {of}"):
        Part(numbers, of)


def test_whole_says_nothing() -> None:
    """Only what lacks a trajectory is a part."""
    assert Part((0, 1, 2), 3).extensions == {}
    assert Part((0, 2), 3).extensions == {"x_trajfmt_part": {"numbers": [0, 2], "of": 3}}
    assert Part((0, 2), 3).missing == [1]


def test_bundle_says_what_its_writer_said(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """The statement survives the file, and an append makes it one about other trajectories."""
    path = tmp_path / "part.mct"
    with trajfmt.create(path, layout, encoding="convex") as writer:
        writer.extensions = Part((7,), 9).extensions
        writer.add(ArrayTrajectory(walk(layout), layout))
    with trajfmt.open(path) as bundle:
        assert Part.stated_by(bundle.manifest) == Part((7,), 9)
    with trajfmt.append(path) as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=1), layout))
    with (
        trajfmt.open(path) as bundle,
        pytest.raises(CorruptError, match=r"a part with 1 trajectories of a .*, but has 2"),
    ):
        Part.stated_by(bundle.manifest, path=path)


@pytest.mark.parametrize(
    "value",
    [7, {"numbers": [0]}, {"numbers": [True], "of": 2}, {"numbers": [5], "of": 2}, {"numbers": 0, "of": 1}],
)
def test_statements_of_others_are_checked(
    value: Any, layout: ParamLayout, write_bundle: Callable[..., Path], edit_manifest: Callable[..., None]
) -> None:
    """A private key may hold anything."""
    theta = np.arange(18, dtype=np.float32).reshape(2, 9)
    path = write_bundle(layout, theta)
    edit_manifest(path, lambda manifest: manifest.update(x_trajfmt_part=value))
    with trajfmt.open(path) as bundle, pytest.raises(CorruptError) as caught:
        Part.stated_by(bundle.manifest, path=path)
    assert caught.value.reason == "manifest_inconsistent"
