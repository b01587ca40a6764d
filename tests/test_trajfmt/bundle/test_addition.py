"""What can be added to a bundle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.folders import hashes
from trajfmt import ArrayTrajectory, ParamLayout, Provenance, SourceError, TimestepUnit, UsageError
from trajfmt.bundle.validation import validate
from trajfmt.schema.manifest import Origin
from trajfmt.schema.provenance import SourceFile
from trajfmt.trajectory import PathRecorder

Array = NDArray[np.generic]


class _Read:
    """A trajectory that returns what it is given."""

    def __init__(self, values: Any, timesteps: Any = 3) -> None:
        self.timesteps = timesteps
        self._values = values

    def read(self, t: int, parameter: int) -> Any:
        """Return the same at any time."""
        del t, parameter
        return self._values


@pytest.mark.parametrize("encoding", ["convex", "full"])
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((3, 2)), "a trajectory must have `timesteps` and a method `read`"),
        (None, "a trajectory must have `timesteps` and a method `read`"),
        (_Read([1.0, 2.0]), "timestep 0, parameter `w` must be an array of numpy, got list"),
        (_Read(None), "timestep 0, parameter `w` must be an array of numpy, got NoneType"),
        (_Read(np.zeros(2, np.float32), "3"), "`timesteps` must be a whole number, got '3'"),
        (_Read(np.ma.masked_equal(np.float32([1, 2]), 2)), "parameter `w` has masked elements"),
    ],
)
def test_writers_say_what_they_expect(tmp_path: Path, encoding: str, source: Any, words: str) -> None:
    """Nothing is written, and no mask is dropped."""
    layout = ParamLayout.of([("w", (2,))])
    path = tmp_path / ("a.mct" if encoding == "convex" else "a.mtt")
    told = pytest.raises((TypeError, UsageError), match=re.escape(words))
    with told, trajfmt.create(path, layout, encoding=encoding) as writer:
        writer.add(source)
    assert list(tmp_path.iterdir()) == []


ABOUT = Provenance(dataset="A", recipe={"lr": 0.1}, timestep=TimestepUnit(kind="epoch", every=2))


def _stored(path: Path, layout: ParamLayout, theta: Array, source: str = "a", **options: Any) -> Path:
    """Write a bundle that states facts, a source file, and where its trajectory is in it."""
    about = msgspec.structs.replace(ABOUT, sources=[SourceFile(source, 1, source * 64)])
    options = {"encoding": "convex", "provenance": about} | options
    with trajfmt.create(path, layout, **options) as writer:
        writer.add(ArrayTrajectory(theta, layout), origin=Origin(0, 7))
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "convex", "knots": (1, 3), "smooth": True},
        {"encoding": "convex", "gram": True},
        {"encoding": "full"},
        {"encoding": "full", "codec": "archive"},
    ],
)
def test_a_trajectory_of_a_bundle_brings_its_facts(
    options: dict[str, Any], tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """Into a bundle that states none: what is written is byte for byte the bundle that it comes from."""
    first = _stored(tmp_path / "a", layout, walk(layout), **options)
    with trajfmt.open(first) as bundle, trajfmt.create(tmp_path / "b", layout, **options) as writer:
        assert writer.add(bundle[0]) == 0
        assert writer.provenance == bundle.manifest.provenance
    assert hashes(tmp_path / "b") == hashes(first)


def test_a_full_trajectory_is_convexified_as_its_original(
    tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """Whatever its codec: knots and tables are those of the array, and the other codec gives its bits."""
    options: dict[str, Any] = {"knots": (2,), "gram": True}
    wanted = _stored(tmp_path / "w.mct", layout, walk(layout), **options)
    for codec in ("none", "archive"):
        path = _stored(tmp_path / f"{codec}.mtt", layout, walk(layout), encoding="full", codec=codec)
        out = tmp_path / f"{codec}.mct"
        with (
            trajfmt.open(path) as bundle,
            trajfmt.create(out, layout, encoding="convex", **options) as writer,
        ):
            writer.add(bundle[0])
        assert hashes(out) == hashes(wanted)


def test_trajectories_of_several_bundles_keep_their_sources(
    tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """Each origin names the right file, and no file is listed twice; a refused one changes nothing."""
    paths = [_stored(tmp_path / f"{n}.mct", layout, walk(layout, seed=n), "ab"[n]) for n in range(2)]
    with trajfmt.append(paths[1]) as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=2), layout), origin=Origin(0, 8))
    one, other = map(trajfmt.open, paths)
    with trajfmt.create(tmp_path / "out.mct", layout, encoding="convex") as writer:
        for trajectory in (one[0], other[0], other[1]):
            writer.add(trajectory)
        with pytest.raises(SourceError, match="same first and last weights"):
            writer.add(one[0])
        writer.add(ArrayTrajectory(walk(layout, seed=3), layout))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        about = bundle.manifest.provenance
        origins = [entry.origin for entry in bundle.manifest.trajectories]
    assert [source.name for source in about.sources] == ["a", "b"]
    assert origins == [Origin(0, 7), Origin(1, 7), Origin(1, 8), None]
    assert validate(tmp_path / "out.mct") == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"dataset": "B"}, "the dataset of the trajectory is A by its bundle, and B by the one"),
        ({"dataset": None}, "the dataset of the trajectory is A by its bundle, and unknown by the one"),
        ({"recipe": {"lr": 0.2}}, "the recipe of the trajectory is lr 0.1 by its bundle, and lr 0.2"),
        ({"first_timestep": 3}, "the first_timestep of the trajectory is 0 by its bundle, and 3"),
        ({"timestep": None}, "the timestep of the trajectory is kind epoch, every 2"),
        ({"recipe": {"lr": 0.1, "seed": 0}}, ""),
    ],
)
def test_a_trajectory_with_other_facts_is_refused(
    changes: dict[str, Any], line: str, tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """The bundle may state more, as its user knows it, and never less or something else."""
    path = _stored(tmp_path / "a.mct", layout, walk(layout))
    about = msgspec.structs.replace(ABOUT, **changes)
    with (
        trajfmt.open(path) as bundle,
        trajfmt.create(tmp_path / "b.mct", layout, encoding="convex", provenance=about) as writer,
    ):
        writer.add(ArrayTrajectory(walk(layout, seed=1), layout))
        if line:
            with pytest.raises(UsageError, match=line):
                writer.add(bundle[0])
        else:
            writer.add(bundle[0])
        kept = [SourceFile("a", 1, "a" * 64)] if not line else []
        assert writer.provenance == msgspec.structs.replace(about, sources=kept)


def test_a_convexified_trajectory_keeps_its_rules_or_is_refused(
    tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """Its original is gone, so that no other knots, layers, Gram matrix or timesteps can be made."""
    path = _stored(tmp_path / "a.mct", layout, walk(layout), knots=(2,))
    refused: list[tuple[ParamLayout, dict[str, Any], str]] = [
        (layout, {"encoding": "full"}, "its timesteps between knots are gone"),
        (layout, {}, r"has knots 2, the bundle two endpoints; add it to a bundle .* knots=\(2,\)"),
        (layout, {"knots": (2,), "smooth": True}, "has knots 2, the bundle knots 2, smoothed"),
        (layout, {"knots": (2,), "gram": True}, "stores Gram matrices, and the trajectory has none"),
        (layout.regroup("all"), {"knots": (2,)}, "convexified with 3 layers, the bundle has 1"),
        (ParamLayout.of([("w", (9,))]), {"knots": (2,)}, "must have the names, shapes and order"),
    ]
    with trajfmt.open(path) as bundle:
        for network, options, line in refused:
            options = {"encoding": "convex"} | options
            with (
                pytest.raises(UsageError, match=line),
                trajfmt.create(tmp_path / "b", network, **options) as writer,
            ):
                writer.add(bundle[0])
            assert not (tmp_path / "b").exists()


def test_sources_that_an_interrupted_run_recorded_must_be_listed(
    tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array]
) -> None:
    """A writer that continues cannot know them, and would name the wrong file."""
    paths = [_stored(tmp_path / f"{n}.mct", layout, walk(layout, seed=n), "ab"[n]) for n in range(2)]
    one, other = map(trajfmt.open, paths)
    options: dict[str, Any] = {"encoding": "convex", "job": b"j"}
    stopped = trajfmt.create(tmp_path / "out.mct", layout, **options)
    stopped.add(one[0])
    known = stopped.provenance
    stopped.release()
    with trajfmt.create(tmp_path / "out.mct", layout, **options, provenance=ABOUT) as writer:
        writer.recover()
        with pytest.raises(UsageError, match="name source files that its `provenance` does not list"):
            writer.add(other[0])
        writer.provenance = known
        writer.add(other[0])
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert [entry.origin for entry in bundle.manifest.trajectories] == [Origin(0, 7), Origin(1, 7)]


@pytest.mark.parametrize("kind", ["layers", "dtype", "names"])
def test_a_recorded_trajectory_of_another_layout_is_refused(
    tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array], kind: str
) -> None:
    """Its tables would have columns of other layers, and the bundle would be unsound."""
    other = {
        "layers": layout.regroup("all"),
        "dtype": layout.cast("F64"),
        "names": ParamLayout.of([(f"x{i}", p.shape) for i, p in enumerate(layout.parameters)]),
    }[kind]
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
    recorder = PathRecorder(other)
    for row in walk(layout, seed=1).astype(other.numpy_dtype):
        recorder.add(row)
    told = pytest.raises(UsageError, match=r"recorded with|must have the names")
    with told, trajfmt.append(tmp_path / "a.mct") as writer:
        writer.add(recorder.finish())
    assert validate(tmp_path / "a.mct") == []
    assert len(trajfmt.open(tmp_path / "a.mct")) == 1
