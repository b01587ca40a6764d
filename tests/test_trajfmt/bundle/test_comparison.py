"""The comparison of two bundles by their manifests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, Provenance
from trajfmt.bundle.comparison import compare
from trajfmt.schema.manifest import Origin
from trajfmt.schema.provenance import SourceFile

Walk = Callable[..., Any]
Write = Callable[..., Path]


def test_equal_bundles_are_equal_wherever_they_are(
    layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """The path makes no difference, and nothing is said to differ."""
    paths = [write_bundle(layout, walk(layout), walk(layout, seed=1), name=n) for n in ("a.mct", "b.mct")]
    found = compare(*paths)
    assert found.equal
    assert (found.settings, found.one.only, found.other.files, found.same_files) == ([], [], [], 4)
    assert [(pair.one, pair.other, pair.stored) for pair in found.both] == [(0, 0, []), (1, 1, [])]


def test_trajectories_are_found_by_digest(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Those that only one bundle has, those that moved, and those with other knots."""
    thetas = [walk(layout, seed=seed) for seed in range(3)]
    one = write_bundle(layout, thetas[0], thetas[1], name="a.mct")
    other = write_bundle(layout, thetas[2], thetas[1], thetas[0], name="b.mct", knots=(2,), gram=True)
    found = compare(one, other)
    assert not found.equal
    assert found.moved
    assert (found.one.only, found.other.only) == ([], [0])
    assert [(pair.one, pair.other) for pair in found.both] == [(0, 2), (1, 1)]
    differing = {each.name: (each.one, each.other) for each in found.both[0].stored}
    assert differing.pop("weights")[0] != ""
    assert differing == {"knots": ("0,5", "0,2,5"), "gram": ("no", "yes")}
    assert found.settings == []


def test_convexified_trajectory_is_found_in_its_original(
    layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """Both have the digest of the original; only the encoding differs."""
    one = write_bundle(layout, walk(layout), name="a.mct")
    other = write_bundle(layout, walk(layout), encoding="full", name="b.mtt")
    found = compare(one, other)
    assert [each.name for each in found.settings] == ["encoding"]
    assert [(pair.one, pair.other, pair.stored) for pair in found.both] == [(0, 0, [])]
    assert found.same_files == 0
    assert found.one.files != []


def test_facts_and_sources_that_differ_are_named(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """Also how a fact is known, and from which file a trajectory comes."""
    for name, known in (("a", "path"), ("b", "flag")):
        about = Provenance(
            dataset="A",
            known_from={"dataset": known},
            first_timestep=None if name == "a" else 0,
            sources=[SourceFile(name, 1, name * 64)],
        )
        path = tmp_path / f"{name}.mct"
        with trajfmt.create(path, layout, encoding="convex", provenance=about) as writer:
            writer.add(ArrayTrajectory(walk(layout), layout), origin=Origin(0, 3))
    found = compare(tmp_path / "a.mct", tmp_path / "b.mct")
    assert found.settings == [
        ("first_timestep", "unknown", "0"),
        ("known_from.dataset", "path", "flag"),
    ]
    assert (found.one.sources, found.other.sources) == (["a"], ["b"])
    assert found.both[0].stored == [("source", "a, trajectory 3", "b, trajectory 3")]
    assert (found.one.files, found.other.files) == ([], [])


def test_repeated_trajectories_are_matched_once(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None]
) -> None:
    """A bundle of another program may hold one twice: the surplus one is in one bundle only."""
    one = write_bundle(layout, walk(layout), walk(layout, seed=1), name="a.mct")
    other = write_bundle(layout, walk(layout), name="b.mct")

    def repeat(manifest: dict[str, Any]) -> None:
        manifest["trajectories"][1]["digest"] = manifest["trajectories"][0]["digest"]

    edit_manifest(one, repeat)
    found = compare(one, other)
    assert (len(found.both), found.one.only, found.other.only) == (1, [1], [])


def test_trajectories_that_cannot_be_read_are_compared_by_digest(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None]
) -> None:
    """Of one that needs a later version of this library, the digest is all that is known."""
    one = write_bundle(layout, walk(layout), walk(layout, seed=1), name="a.mct")
    other = write_bundle(layout, walk(layout, seed=1), walk(layout), name="b.mct", knots=(2,))

    def later(manifest: dict[str, Any]) -> None:
        manifest["version"]["minor"] = 1
        manifest["trajectories"][1]["requires_read"] = ["knots.rotated"]

    edit_manifest(other, later)
    found = compare(one, other)
    assert [(pair.one, pair.other) for pair in found.both] == [(0, 1), (1, 0)]
    assert found.both[0].stored == []
    assert [each.name for each in found.both[1].stored] == ["knots", "weights"]
