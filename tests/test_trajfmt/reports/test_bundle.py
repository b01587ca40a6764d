"""The facts of a bundle, and their JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

import trajfmt
from tests.helpers.pages import assert_sound
from trajfmt.errors import CorruptError, UsageError
from trajfmt.reports.bundle import SCHEMA, describe, to_json
from trajfmt.reports.page import render


def test_json_holds_every_number(layout: Any, walk: Any, write_bundle: Any) -> None:
    """It is strict JSON with the version of its schema, of one bundle or of several."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1), gram=True)
    report = describe(path, trajectory=1)
    found = json.loads(to_json([report, report]), parse_constant=pytest.fail)
    assert found["schema"] == SCHEMA
    one, two = found["bundles"]
    assert one == two
    assert report.shape is not None
    assert one["shown"] == 1
    assert one["shape"]["step_norms"] == list(report.shape.step_norms or ())
    assert one["summary"]["sha256"] == report.summary.sha256
    assert [layer["name"] for layer in one["layers"]] == ["fc.weight", "fc.bias", "scale"]
    assert one["layers"][0] | {"share": 6 / 9, "shapes": [[2, 3]], "elements": 6} == one["layers"][0]


def test_a_number_that_does_not_exist_is_null(layout: Any, walk: Any, write_bundle: Any) -> None:
    """The angle beside a step of length 0 is null, as JSON has no NaN."""
    theta = walk(layout)
    theta[3] = theta[2]
    found = json.loads(to_json([describe(write_bundle(layout, theta, gram=True))]))
    assert found["bundles"][0]["shape"]["turning_angles"][1:3] == [None, None]


def test_what_is_read_is_compared_with_its_hash(layout: Any, walk: Any, write_bundle: Any) -> None:
    """A flipped bit in a table or in a knot is found without --verify; one elsewhere with it."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1))
    flipped = (
        ("tables/00000.h5", False),
        ("knots/00000.safetensors", False),
        ("knots/00001.safetensors", True),
    )
    for file, verify in flipped:
        data = (path / file).read_bytes()
        (path / file).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        if verify:
            assert not describe(path).verified
        with pytest.raises(CorruptError) as caught:
            describe(path, verify=verify)
        assert caught.value.reason == "hash_mismatch"
        (path / file).write_bytes(data)
    assert describe(path, verify=True).verified


def test_trajectory_that_does_not_exist(layout: Any, walk: Any, write_bundle: Any) -> None:
    """It is a usage error that names the range."""
    with pytest.raises(UsageError, match=r"`trajectory` must lie in \[0, 0\], got 3"):
        describe(write_bundle(layout, walk(layout)), trajectory=3)


def test_no_trajectory_can_be_read(layout: Any, walk: Any, write_bundle: Any, edit_manifest: Any) -> None:
    """If each needs a later version, there is no shape and no curve, and the rest is shown."""
    path = write_bundle(layout, walk(layout))
    edit_manifest(path, lambda m: m["trajectories"][0].update(requires_read=["quantum"]))
    report = describe(path)
    assert report.shown is report.shape is report.curves is None
    assert "No trajectory of this bundle can be read" in assert_sound(render([report, report])).text


def test_address(layout: Any, walk: Any, write_bundle: Any) -> None:
    """A bundle at an address has the same facts as its copy on disk."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    path = write_bundle(layout, walk(layout), gram=True)
    memory.put(str(path), "/reports/two.mct", recursive=True)
    try:
        there = describe("memory://reports/two.mct")
    finally:
        memory.rm("/reports", recursive=True)
    here = describe(path)
    assert (there.shape, there.curves, there.layers) == (here.shape, here.curves, here.layers)
    assert there.summary.path == "memory://reports/two.mct"


def test_trajectory_that_needs_a_later_version(
    layout: Any, walk: Any, write_bundle: Any, edit_manifest: Any
) -> None:
    """It is not shown, and asking for it is the error of the bundle."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1))
    edit_manifest(path, lambda m: m["trajectories"][0].update(requires_read=["quantum"]))
    report = describe(path)
    assert report.shown == 1
    assert list(report.summary.refused) == [0]
    with pytest.raises(trajfmt.NotABundleError):
        describe(path, trajectory=0)
