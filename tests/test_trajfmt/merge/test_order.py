"""The order of the trajectories of a merged bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trajfmt
from tests.helpers.folders import hashes
from trajfmt import ArrayTrajectory, ParamLayout, Provenance, SourceError, UsageError
from trajfmt.merge import merge
from trajfmt.schema.manifest import Origin
from trajfmt.schema.part import Part
from trajfmt.schema.provenance import SourceFile

Walk = Callable[..., Any]


def _part(path: Path, layout: ParamLayout, walk: Walk, *numbers: int, of: int, **options: Any) -> Path:
    """Write the trajectories with some numbers of a whole, of which the number is the seed."""
    with trajfmt.create(path, layout, encoding="convex", **options) as writer:
        writer.extensions = Part(numbers, of).extensions
        for number in numbers:
            writer.add(ArrayTrajectory(walk(layout, seed=number), layout))
    return path


def _digests(path: Path) -> list[str]:
    with trajfmt.open(path) as bundle:
        return [entry.digest for entry in bundle.manifest.trajectories]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_parts_give_the_whole_however_it_is_divided(
    data: st.DataObject, layout: ParamLayout, walk: Walk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Byte for byte what one process writes, in any order and in any number of steps."""
    folder = tmp_path_factory.mktemp("parts")
    owners = data.draw(st.lists(st.integers(0, 3), min_size=5, max_size=5), label="part of each trajectory")
    divided = [[n for n, owner in enumerate(owners) if owner == part] for part in sorted(set(owners))]
    options: dict[str, Any] = {"knots": (2,), "gram": True}
    whole = _part(folder / "whole.mct", layout, walk, *range(5), of=5, **options)
    parts = [
        _part(folder / f"{n}.mct", layout, walk, *numbers, of=5, **options)
        for n, numbers in enumerate(divided)
    ]
    parts = data.draw(st.permutations(parts), label="order")
    first = data.draw(st.integers(0, len(parts) - 1), label="parts that are merged before")
    if first:
        merge(parts[:first], folder / "some.mct")
        parts = [*parts[first:], folder / "some.mct"]
    assert merge(parts, folder / "all.mct").trajectories == 5
    assert hashes(folder / "all.mct") == hashes(whole)


def test_missing_parts_are_said(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """What lacks some is a part, too."""
    parts = [_part(tmp_path / f"{n}.mct", layout, walk, n, of=4) for n in (1, 3)]
    notes: list[str] = []
    merge(parts, tmp_path / "out.mct", on_note=notes.append)
    assert notes == [
        "2 of the 4 trajectories of the whole are missing (0, 2); the new bundle is a part of it, too"
    ]
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert Part.stated_by(bundle.manifest) == Part((1, 3), 4)


def test_parts_that_do_not_fit_are_refused(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """Two trajectories of one number, parts of other wholes, and what is no part."""
    first = _part(tmp_path / "a.mct", layout, walk, 0, of=3)
    with trajfmt.create(tmp_path / "b.mct", layout, encoding="convex") as writer:
        writer.extensions = Part((0,), 3).extensions
        writer.add(ArrayTrajectory(walk(layout, seed=9), layout))
    with pytest.raises(
        UsageError, match=r"b\.mct: its trajectory 0 of the whole is another one than that of"
    ):
        merge([first, tmp_path / "b.mct"], tmp_path / "out.mct")
    other = _part(tmp_path / "c.mct", layout, walk, 1, of=4)
    with pytest.raises(
        UsageError, match=r"it is a part of one with 4 trajectories, but .*a\.mct is a part of"
    ):
        merge([first, other], tmp_path / "out.mct")
    plain = _part(tmp_path / "d.mct", layout, walk, 0, 1, of=2)
    with pytest.raises(UsageError, match=r"no part of a larger bundle.*merge the parts of one whole first"):
        merge([first, plain], tmp_path / "out.mct")
    assert not list(tmp_path.glob("*out*"))


def _converted(path: Path, layout: ParamLayout, walk: Walk, name: str, *seeds: int) -> Path:
    """Write a bundle that names a source file, as a conversion does."""
    about = Provenance(sources=[SourceFile(name, 10, name[-1] * 64)]) if name else Provenance()
    with trajfmt.create(path, layout, encoding="convex", provenance=about) as writer:
        for number, seed in enumerate(seeds):
            origin = Origin(0, number) if name else None
            writer.add(ArrayTrajectory(walk(layout, seed=seed), layout), origin=origin)
    return path


def test_sources_order_bundles_with_numbers_as_numbers(
    layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """What names no source comes first; each bundle keeps its own order; origins name the right file."""
    bundles = [
        _converted(tmp_path / "a.mct", layout, walk, "buffer_10", 1, 2),
        _converted(tmp_path / "b.mct", layout, walk, "buffer_9", 4, 3),
        _converted(tmp_path / "c.mct", layout, walk, "", 5, 0),
    ]
    merge(bundles, tmp_path / "out.mct")
    merge(bundles[::-1], tmp_path / "back.mct")
    assert hashes(tmp_path / "out.mct") == hashes(tmp_path / "back.mct")
    assert _digests(tmp_path / "out.mct") == [d for n in (2, 1, 0) for d in _digests(bundles[n])]
    with trajfmt.open(tmp_path / "out.mct") as merged:
        sources = merged.manifest.provenance.sources
        origins = [entry.origin for entry in merged.manifest.trajectories]
    assert [
        None if origin is None else (sources[origin.file].name, origin.trajectory) for origin in origins
    ] == [None, None, ("buffer_9", 0), ("buffer_9", 1), ("buffer_10", 0), ("buffer_10", 1)]


def test_repeated_trajectories_are_refused_or_left_out(
    layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Whichever order they are given in, the same one stays; a bundle of repeats alone leaves no trace."""
    bundles = [
        _converted(tmp_path / "a.mct", layout, walk, "buffer_0", 1, 2),
        _converted(tmp_path / "b.mct", layout, walk, "buffer_1", 2, 3),
        _converted(tmp_path / "c.mct", layout, walk, "buffer_2", 3),
    ]
    with pytest.raises(
        SourceError, match=r"b\.mct: trajectory 0 has the same .* as trajectory 1 of .*a\.mct"
    ):
        merge(bundles, tmp_path / "out.mct")
    notes: list[str] = []
    found = merge(bundles, tmp_path / "out.mct", skip_duplicates=True, on_note=notes.append)
    assert (found.trajectories, found.skipped) == (3, 2)
    assert notes == [
        f"left out: {bundles[n + 1]}: 1 of its trajectories, which {bundles[n]} has already (0)"
        for n in (0, 1)
    ]
    merge(bundles[::-1], tmp_path / "back.mct", skip_duplicates=True)
    assert hashes(tmp_path / "out.mct") == hashes(tmp_path / "back.mct")
    with trajfmt.open(tmp_path / "out.mct") as merged:
        assert [source.name for source in merged.manifest.provenance.sources] == ["buffer_0", "buffer_1"]
        assert merged.manifest.trajectories[2].origin == Origin(1, 1)
    merge([bundles[0], bundles[0]], tmp_path / "twice.mct", skip_duplicates=True)
    merge([bundles[0]], tmp_path / "once.mct")
    assert hashes(tmp_path / "twice.mct") == hashes(tmp_path / "once.mct")
