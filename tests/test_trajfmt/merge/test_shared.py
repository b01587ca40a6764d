"""What bundles that are merged must agree in, and what is then said of all trajectories."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import trajfmt
from tests.helpers.folders import hashes
from trajfmt import Model, ParamLayout, Preprocessing, Provenance, TimestepUnit, UsageError
from trajfmt.merge import merge

Walk = Callable[..., Any]
Write = Callable[..., Path]
MODEL = Model(family="ConvNet", depth=3, width=128, channels=3, classes=10)
SIZED = Model(family="ConvNet", depth=3, width=128, channels=3, classes=10, image_size=32)


def _pair(
    write: Write, layout: ParamLayout, walk: Walk, one: dict[str, Any], other: dict[str, Any]
) -> list[Path]:
    facts = [Provenance(**one), Provenance(**other)]
    return [
        write(layout, walk(layout, seed=seed), name=f"{name}.mct", provenance=about)
        for seed, name, about in zip((0, 1), "ab", facts, strict=True)
    ]


@pytest.mark.parametrize(
    ("one", "other", "line", "optional"),
    [
        ({"dataset": "A"}, {"dataset": "B"}, "its dataset is B, that of .* is A; such", False),
        ({"dataset": "A"}, {}, "its dataset is unknown, that of .* is A; record only", True),
        ({"model": SIZED}, {"model": MODEL}, "its model is", True),
        (
            {"recipe": {"seed": 0, "lr": 1.0}},
            {"recipe": {"seed": 1, "lr": 1.0}},
            "its recipe.seed is 1",
            True,
        ),
        ({"recipe": {"ablation": "x"}}, {}, "its recipe.ablation is unknown", False),
        ({"recipe": {"weights": "ema"}}, {"recipe": {"weights": "model"}}, "its recipe.weights is", False),
        ({"timestep": TimestepUnit(kind="step")}, {}, "its timestep is unknown", False),
        ({"first_timestep": 1}, {}, "its first_timestep is unknown", False),
        (
            {"preprocessing": Preprocessing(kind="zca", eps=0.1)},
            {"preprocessing": Preprocessing(kind="none")},
            "its preprocessing is kind none",
            False,
        ),
    ],
)
def test_facts_that_differ_are_refused_or_left_out(
    one: dict[str, Any],
    other: dict[str, Any],
    line: str,
    optional: bool,
    layout: ParamLayout,
    walk: Walk,
    write_bundle: Write,
    tmp_path: Path,
) -> None:
    """One line says what differs. What only describes the experts can be left out, in either order alike."""
    pair = _pair(write_bundle, layout, walk, one, other)
    with pytest.raises(UsageError, match=line):
        merge(pair, tmp_path / "out.mct")
    if not optional:
        with pytest.raises(UsageError, match=line):
            merge(pair, tmp_path / "out.mct", common=True)
        return
    notes: list[str] = []
    merge(pair, tmp_path / "out.mct", common=True, on_note=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("not recorded, as not all bundles say the same of it: ")
    merge(pair[::-1], tmp_path / "back.mct", common=True)
    assert hashes(tmp_path / "out.mct") == hashes(tmp_path / "back.mct")
    with trajfmt.open(tmp_path / "out.mct") as merged:
        about = merged.manifest.provenance
    assert about.dataset is None
    assert about.model == (MODEL if "model" in one else None)
    assert about.recipe == ({"lr": 1.0} if "recipe" in one else None)


def test_facts_that_all_state_are_kept(
    layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path
) -> None:
    """With how they are known, unless the bundles know them from other things; 0 says no more than none."""
    facts = {"dataset": "A", "model": MODEL, "timestep": TimestepUnit(kind="epoch", every=2), "recipe": {}}
    one = facts | {"known_from": {"dataset": "path", "model": "shapes"}}
    other = facts | {"first_timestep": 0, "known_from": {"dataset": "flag", "model": "shapes"}}
    merge(_pair(write_bundle, layout, walk, one, other), tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as merged:
        about = merged.manifest.provenance
    assert about.first_timestep in (None, 0)
    assert msgspec.structs.replace(about, first_timestep=None) == Provenance(
        **facts, known_from={"model": "shapes"}
    )


@pytest.mark.parametrize(("change", "fits"), [(1e-12, True), (1e-6, False)])
def test_statistics_of_the_same_images_may_differ_by_rounding(
    change: float, fits: bool, layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path
) -> None:
    """Experts of two machines were trained with either; those of the first bundle are recorded."""
    images = "0" * 64
    one, other = (
        Preprocessing(kind="normalize", mean=[0.5 + by], std=[0.25], images_sha256=images)
        for by in (0, change)
    )
    pair = _pair(write_bundle, layout, walk, {"preprocessing": one}, {"preprocessing": other})
    if not fits:
        with pytest.raises(UsageError, match="its preprocessing is kind normalize"):
            merge(pair, tmp_path / "out.mct")
        return
    for order, name in ((pair, "out.mct"), (pair[::-1], "back.mct")):
        merge(order, tmp_path / name)
    assert hashes(tmp_path / "out.mct") == hashes(tmp_path / "back.mct")
    with trajfmt.open(tmp_path / "out.mct") as merged:
        assert merged.manifest.provenance.preprocessing in (one, other)


def test_private_keys_and_unknown_facts_are_kept(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None], tmp_path: Path
) -> None:
    """Those that all bundles have; others are refused, or left out; those of a source file stay with it."""
    source = {"name": "a", "bytes": 1, "sha256": "0" * 64}

    def change(manifest: dict[str, Any], note: str) -> None:
        manifest["x_same"] = [1]
        manifest["x_note"] = note
        manifest["provenance"] |= {"gpu": "A100", "sources": [source | {"url": note}]}

    pair = _pair(write_bundle, layout, walk, {}, {})
    for path, note in zip(pair, ("b", "c"), strict=True):
        edit_manifest(path, lambda manifest, note=note: change(manifest, note))
    with pytest.raises(UsageError, match=r'its x_note is "c", that of .* is "b"; record only'):
        merge(pair, tmp_path / "out.mct")
    merge(pair, tmp_path / "out.mct", common=True)
    with trajfmt.open(tmp_path / "out.mct") as merged:
        assert merged.manifest.extensions == {"x_same": [1]}
        unread = merged.manifest.unread
    assert unread["gpu"] == "A100"
    assert sorted(keys["url"] for keys in unread["sources"].values()) == ["b", "c"]


def test_other_rules_are_refused_and_other_knots_are_said(
    layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path
) -> None:
    """A manifest has one encoding, network and smoothing; knots and Gram matrix belong to a trajectory."""
    plain = write_bundle(layout, walk(layout), name="a.mct", gram=True)
    others = {
        "smoothed": write_bundle(layout, walk(layout, seed=1), name="b.mct", knots=(2,), smooth=True),
        "encoding": write_bundle(layout, walk(layout, seed=1), name="c.mtt", encoding="full"),
        "dtype": write_bundle(layout.cast("F64"), walk(layout.cast("F64")), name="d.mct"),
    }
    for name, other in others.items():
        with pytest.raises(UsageError, match=f"its {name} is "):
            merge([plain, other], tmp_path / "out.mct", common=True)
    notes: list[str] = []
    merge(
        [plain, write_bundle(layout, walk(layout, seed=1), name="e.mct", knots=(2,))],
        tmp_path / "out.mct",
        on_note=notes.append,
    )
    assert len(notes) == 2
    assert "its inserted knots are" in notes[0]
    assert "Gram matrix, unlike others" in notes[1]


def test_other_ends_are_said(layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path) -> None:
    """A convexified path depends on its end; a bundle of all timesteps has no such path."""
    for suffix, encoding, told in (("mct", "convex", True), ("mtt", "full", False)):
        pair = [
            write_bundle(layout, walk(layout, last, seed=last), name=f"{last}.{suffix}", encoding=encoding)
            for last in (4, 6)
        ]
        notes: list[str] = []
        merge(pair, tmp_path / f"out.{suffix}", on_note=notes.append)
        ends = [re.findall(r"mct: its paths end at timestep (\d), others at (\d)$", note) for note in notes]
        assert [sorted(*found) for found in ends] == [["3", "5"]] * told


def test_numbers_of_every_trajectory_are_compared(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None], tmp_path: Path
) -> None:
    """Also where the first trajectories of both bundles have the same."""
    pair = [
        write_bundle(layout, *(walk(layout, 4, seed=seed) for seed in seeds), name=f"{name}.mct")
        for name, seeds in (("a", (0, 1)), ("b", (2, 3)))
    ]

    def change(manifest: dict[str, Any]) -> None:
        manifest["trajectories"][1]["numbers"] = [0, 3, 6, 9]

    notes: list[str] = []
    merge(pair, tmp_path / "alike.mct", on_note=notes.append)
    assert notes == []
    edit_manifest(pair[1], change)
    merge(pair, tmp_path / "out.mct", on_note=notes.append)
    (note,) = notes
    found = re.fullmatch(r".*mct: its timesteps are (\S+) of the training, others (\S+)", note)
    assert found is not None
    assert set(found.groups()) == {"0,1,2,3", "0,3,6,9"}


def test_a_source_file_of_several_bundles_is_listed_once(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None], tmp_path: Path
) -> None:
    """The trajectories of both are from it; numbers that timesteps of one have are remarked on by a merge."""
    source = {"name": "a", "bytes": 1, "sha256": "0" * 64}
    pair = _pair(write_bundle, layout, walk, {}, {})
    for number, path in enumerate(pair):

        def change(manifest: dict[str, Any], number: int = number) -> None:
            manifest["provenance"]["sources"] = [source]
            manifest["trajectories"][0]["origin"] = {"file": 0, "trajectory": number}

        edit_manifest(path, change)
    merge(pair, tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as merged:
        assert [each.name for each in merged.provenance.sources] == ["a"]
        origins = [entry.origin for entry in merged.manifest.trajectories]
        assert [(origin.file, origin.trajectory) for origin in origins] == [(0, 0), (0, 1)]
