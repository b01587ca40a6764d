"""What exported files have no place for is said in one line, for every target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ParamLayout
from trajfmt.schema.provenance import Model, Provenance, SourceFile, TimestepUnit

pytest.importorskip("torch")
from trajfmt.export.run import check

Array = NDArray[np.generic]


class Carried(trajfmt.ArrayTrajectory):
    """A trajectory with numbers and module buffers."""

    numbers: ClassVar[tuple[int, ...]] = (1, 2, 5, 7)

    def buffers(self, t: int) -> dict[str, Array]:
        """Return one buffer."""
        return {"bn.running_mean": np.full(3, t, "f4")}


def _loss(bundle: trajfmt.Bundle, to: str, *, float32: bool = False) -> str:
    lines = [note for note in check(bundle, to=to, float32=float32) if note.startswith("not in these")]
    assert len(lines) < 2
    return "".join(lines)


@pytest.mark.parametrize("encoding", ["full", "convex"])
def test_each_target_says_what_it_leaves_out(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path, encoding: str
) -> None:
    """Numbers, buffers, names, knots and provenance; stubs lose nothing."""
    path = tmp_path / ("a.mct" if encoding == "convex" else "a.mtt")
    with trajfmt.create(path, layout, encoding=encoding, provenance=Provenance(dataset="CIFAR10")) as writer:
        writer.add(Carried(walk(layout, 4), layout))
    with trajfmt.open(path) as bundle:
        told = _loss(bundle, "mtt")
        assert "the numbers of the timesteps (1, 2, 5, …; these files count from 0)" in told
        assert "module buffers; names of parameters" in told
        assert ("knots, betas and step norms" in told) == (encoding == "convex")
        assert told.endswith("provenance (dataset)")
        kept = _loss(bundle, "checkpoints")
        assert "provenance (dataset)" in kept
        assert not any(word in kept for word in ("numbers", "buffers", "names"))
        if encoding == "convex":
            theirs = _loss(bundle, "mct-authors")
            assert "numbers of the timesteps" in theirs
            assert "knots" not in theirs
            assert "layers" not in theirs
            assert "betas are rounded from float64 to float32" in check(bundle, to="mct-authors")
        assert not [note for note in check(bundle, in_place=True) if note.startswith("not in these")]


def test_numbers_that_follow_from_the_unit_count(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Every fifth epoch is no count from 0, whoever wrote it down; every epoch from 0 is."""
    for every in (5, 1):
        about = Provenance(timestep=TimestepUnit(kind="epoch", every=every))
        with trajfmt.create(tmp_path / f"{every}.mtt", layout, encoding="full", provenance=about) as writer:
            writer.add(trajfmt.ArrayTrajectory(walk(layout, 3), layout))
        with trajfmt.open(tmp_path / f"{every}.mtt") as bundle:
            assert ("(0, 5, 10; these" in _loss(bundle, "mtt")) == (every == 5)
            assert ("numbers" in _loss(bundle, "mtt")) == (every == 5)
            assert ("that a timestep is 5 epochs (prog" in _loss(bundle, "mtt")) == (every == 5)
            assert "a timestep is" not in _loss(bundle, "checkpoints")


def test_uneven_timesteps_are_no_unit(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Steps 1, 2, 5 and 7 are not one step each."""
    about = Provenance(timestep=TimestepUnit(kind="step"))
    with trajfmt.create(tmp_path / "a.mtt", layout, encoding="full", provenance=about) as writer:
        writer.add(Carried(walk(layout, 4), layout))
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        assert "that they are steps 1 to 7, unevenly spaced (prog" in _loss(bundle, "mtt")
        assert "a timestep is" not in _loss(bundle, "mtt")


def test_rounding_is_said(layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path) -> None:
    """Only what loses digits."""
    for dtype, lossy in (("F64", True), ("F32", False), ("BF16", False)):
        own = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype=dtype)  # type: ignore[arg-type]
        with trajfmt.create(tmp_path / f"{dtype}.mtt", own, encoding="full") as writer:
            writer.add(trajfmt.ArrayTrajectory(walk(own, 3), own))
        with trajfmt.open(tmp_path / f"{dtype}.mtt") as bundle:
            assert any("rounded to float32" in note for note in check(bundle, float32=True)) == lossy


@pytest.mark.parametrize("smooth", [False, True])
def test_what_pairs_of_knots_and_betas_do_not_say(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path, smooth: bool
) -> None:
    """Smoothing, layers, step norms and Gram matrix cannot be read back."""
    path, grouped = tmp_path / "a.mct", layout.regroup("all")
    with trajfmt.create(path, grouped, encoding="convex", knots=(2,), smooth=smooth, gram=True) as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(layout, 5), layout))
    with trajfmt.open(path) as bundle:
        told = _loss(bundle, "mct-authors")
        assert "step norms; Gram matrices; layers (each tensor gets the betas of its layer)" in told
        assert ("that knots are smoothed" in told, "that knots are not smoothed" in told) == (
            smooth,
            not smooth,
        )
        assert "Gram matrices" in _loss(bundle, "mtt")


@pytest.mark.parametrize("knots", [(), (2,)])
def test_pairs_of_knots_do_not_say_that_these_are_means(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path, knots: tuple[int, ...]
) -> None:
    """Also where no knot is inserted, as the last one is a mean; they are then not called smoothed or not."""
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", knots=knots, average=3) as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(layout, 5), layout))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        told = _loss(bundle, "mct-authors")
    assert "that every knot but the first is the mean of 3 timesteps" in told
    assert "smoothed" not in told


@pytest.mark.parametrize("model", [None, "ConvNet"])
def test_an_order_that_may_not_be_that_of_a_module_is_said(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path, model: str | None
) -> None:
    """Safetensors files have an order of their own; a network that was recognised is in order."""
    network = model and Model(family="ConvNet", depth=1, width=4, channels=3, classes=10)
    sources = [SourceFile("model.safetensors", 1, "0" * 64), SourceFile("manifest.json", 1, "0" * 64)]
    for number, files in enumerate((sources, sources[1:])):
        about = Provenance(model=network or None, sources=files)
        path = tmp_path / f"{number}.mct"
        with trajfmt.create(path, layout, encoding="convex", provenance=about) as writer:
            writer.add(trajfmt.ArrayTrajectory(walk(layout, 4), layout))
        with trajfmt.open(path) as bundle:
            for to, in_place in (
                ("mtt", False),
                ("mtt", True),
                ("mct-authors", False),
                ("checkpoints", False),
            ):
                told = any("order of the safetensors" in n for n in check(bundle, to=to, in_place=in_place))
                assert told == (number == 0 and model is None and to != "checkpoints")


def test_buffers_between_knots_are_said(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """A checkpoint between two knots has the buffers of another timestep."""
    for name, encoding, between in (("a.mct", "convex", True), ("a.mtt", "full", False)):
        with trajfmt.create(tmp_path / name, layout, encoding=encoding) as writer:
            writer.add(Carried(walk(layout, 4), layout))
        with trajfmt.open(tmp_path / name) as bundle:
            told = any("between two of them" in note for note in check(bundle, to="checkpoints"))
            assert told == between
