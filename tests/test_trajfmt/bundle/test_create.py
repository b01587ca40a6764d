"""Starting a bundle, or more trajectories of one: what is refused, and what stays as it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
import trajfmt.bundle.create
from tests.helpers.folders import hashes
from tests.helpers.variants import VARIANTS
from tests.helpers.walks import LAYOUT, walk_of, write_walks
from trajfmt import (
    ArrayTrajectory,
    ExistsError,
    NotABundleError,
    ParamLayout,
    Provenance,
    UnsafeError,
    UsageError,
)
from trajfmt.bundle.create import appended
from trajfmt.bundle.validation import validate
from trajfmt.storage.staging import Staging

Array = NDArray[np.generic]
Walk = Callable[..., Array]
Write = Callable[..., Path]


@pytest.mark.parametrize("kind", ["file", "folder", "bundle", "dangling link"])
def test_existing_destination_is_refused_and_untouched(
    kind: str, layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path
) -> None:
    """Whatever is there stays."""
    path = tmp_path / "out.mct"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    elif kind == "bundle":
        write_bundle(layout, walk(layout))
    else:
        path.symlink_to(tmp_path / "gone")
    before = hashes(tmp_path)
    with pytest.raises(ExistsError):
        trajfmt.create(path, layout, encoding="convex")
    assert os.path.lexists(path)
    assert hashes(tmp_path) == before


def test_second_writer_is_refused_until_the_first_is_done(
    layout: ParamLayout, walk: Walk, tmp_path: Path, python: Callable[..., str]
) -> None:
    """In this process and in another one; afterwards the way is free."""
    code = (
        "import sys, trajfmt; layout = trajfmt.ParamLayout.of([('w', (9,))])\n"
        "try: trajfmt.create(sys.argv[1], layout, encoding='full').discard()\n"
        "except trajfmt.UsageError as exc: print('refused:', exc)\n"
        "else: print('free')"
    )
    writer = trajfmt.create(tmp_path / "out", layout, encoding="full")
    writer.add(ArrayTrajectory(walk(layout), layout))
    with pytest.raises(UsageError, match="another process"):
        trajfmt.create(tmp_path / "out", layout, encoding="full")
    assert python(code, tmp_path / "out").startswith("refused: ")
    writer.discard()
    assert python(code, tmp_path / "out") == "free\n"
    assert os.listdir(tmp_path) == []


def test_missing_parent_is_a_usage_error(layout: ParamLayout, tmp_path: Path) -> None:
    """Folders are not made on the way."""
    with pytest.raises(UsageError, match="no such folder"):
        trajfmt.create(tmp_path / "a/b", layout, encoding="full")


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "convex", "codec": "zstd"},
        {"encoding": "full", "knots": (2,)},
        {"encoding": "full", "smooth": True},
        {"encoding": "convex", "smooth": True},
        {"encoding": "mct"},
    ],
)
def test_settings_that_do_not_fit_are_usage_errors(
    options: dict[str, Any], layout: ParamLayout, tmp_path: Path
) -> None:
    """And leave nothing behind."""
    with pytest.raises(UsageError):
        trajfmt.create(tmp_path / "out", layout, **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", VARIANTS)
def test_append_keeps_files_readers_and_settings(
    options: dict[str, Any],
    layout: ParamLayout,
    walk: Walk,
    write_bundle: Write,
    edit_manifest: Callable[..., None],
) -> None:
    """Old files stay as they are, an open reader goes on, private keys stay."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1), **options)
    edit_manifest(path, lambda manifest: manifest.update(x_note={"keep": [1, "ä"]}))
    before = hashes(path)
    with trajfmt.open(path) as old:
        first = old[0].at(0).tobytes()
        with trajfmt.append(path) as writer:
            assert writer.add(ArrayTrajectory(walk(layout, seed=2), layout)) == 2
            assert hashes(path) == before
        assert (len(old), old[0].at(0).tobytes()) == (2, first)
        assert old[1].at(5).shape == (9,)
    after = hashes(path)
    del before["manifest.json"]
    assert before.items() <= after.items()
    manifest = json.loads((path / "manifest.json").read_bytes())
    assert manifest["x_note"] == {"keep": [1, "ä"]}
    with trajfmt.open(path, verify=True) as bundle:
        assert [item.at(0).tobytes() for item in bundle] == [
            walk(layout, seed=seed)[0].tobytes() for seed in range(3)
        ]
        assert bundle[2].knots == bundle[0].knots
    assert validate(path) == []
    assert os.listdir(path.parent) == [path.name]


def test_append_that_fails_changes_nothing(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """The bundle is as it was."""
    path = write_bundle(layout, walk(layout))
    before = hashes(path.parent)
    with pytest.raises(RuntimeError), trajfmt.append(path) as writer:  # noqa: PT012  # what ends the block is the case
        writer.add(ArrayTrajectory(walk(layout, seed=1), layout))
        raise RuntimeError
    assert hashes(path.parent) == before


def test_append_with_an_unknown_write_feature_is_refused(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None]
) -> None:
    """Reading goes on, writing does not."""
    path = write_bundle(layout, walk(layout))
    edit_manifest(path, lambda manifest: manifest.update(requires_write=["index"]))
    before = hashes(path.parent)
    with pytest.raises(NotABundleError, match="index") as caught:
        trajfmt.append(path)
    assert caught.value.reason == "unknown_feature"
    assert hashes(path.parent) == before
    assert trajfmt.open(path, verify=True)[0].at(0).shape == (9,)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_recipe_that_json_cannot_hold_is_refused(
    value: float, layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """A fact is kept or refused, never turned into nothing."""
    with pytest.raises(UsageError):
        write_bundle(layout, walk(layout), provenance=Provenance(recipe={"lr": value}))


@pytest.mark.parametrize(
    ("parameters", "provenance"),
    [
        ([("", (9,))], None),
        ([("x" * 1025, (9,))], None),
        ([("a", (9,) + (1,) * 8)], None),
        ([("a", (-3, -3))], None),
        ([("a\ud800", (9,))], None),
        ([("a", (9,))], Provenance(dataset="")),
    ],
    ids=["no-name", "long-name", "nine-dimensions", "negative", "surrogate", "no-dataset"],
)
def test_argument_that_the_format_cannot_hold_is_refused_at_once(
    parameters: Any, provenance: Any, tmp_path: Path
) -> None:
    """A caller's mistake is a usage error before any work, not a corrupt manifest after it."""
    with pytest.raises(UsageError):
        trajfmt.create(
            tmp_path / "out", ParamLayout.of(parameters), encoding="full", provenance=provenance
        ).discard()


def test_file_where_the_hidden_folder_would_be_is_a_usage_error(layout: ParamLayout, tmp_path: Path) -> None:
    """`.out.partial` may be anything."""
    (tmp_path / ".out.partial").write_text("mine")
    with pytest.raises(UsageError):
        trajfmt.create(tmp_path / "out", layout, encoding="full")


def test_link_where_the_hidden_folder_would_be_is_not_followed(layout: ParamLayout, tmp_path: Path) -> None:
    """In a folder that others can write to, a link must not make us delete what it leads to."""
    (tmp_path / "home/bundle").mkdir(parents=True)
    (tmp_path / "home/bundle/precious").write_text("mine")
    (tmp_path / ".out.partial").symlink_to(tmp_path / "home")
    with pytest.raises(UsageError):
        trajfmt.create(tmp_path / "out", layout, encoding="full").discard()
    assert (tmp_path / "home/bundle/precious").read_text() == "mine"


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_append_does_not_write_through_a_link(
    when: str, layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path
) -> None:
    """A stranger's bundle must not make us write elsewhere."""
    path, outside = write_bundle(layout, walk(layout), encoding="full"), tmp_path / "outside"

    def link() -> None:
        os.rename(path / "theta", outside)
        (outside / "00001.h5").write_text("precious")
        (path / "theta").symlink_to(outside)

    if when == "before":
        link()
        with pytest.raises(UnsafeError, match="a link where a folder is expected"):
            trajfmt.append(path)
    else:
        writer = trajfmt.append(path)
        writer.add(ArrayTrajectory(walk(layout, seed=1), layout))
        link()
        with pytest.raises(UnsafeError, match="a link where a folder is expected"):
            writer.publish()
        writer.discard()
    assert (outside / "00001.h5").read_text() == "precious"


def test_append_after_another_append_loses_nothing(
    layout: ParamLayout, walk: Walk, write_bundle: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that append one after the other, the second having started before the first ended."""
    path = write_bundle(layout, walk(layout), encoding="full")
    original = trajfmt.bundle.create.Staging

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(trajfmt.bundle.create, "Staging", original)
        with trajfmt.append(path) as other:
            other.add(ArrayTrajectory(walk(layout, seed=1), layout))
        return original(*arguments)

    monkeypatch.setattr(trajfmt.bundle.create, "Staging", late)
    with pytest.raises(UsageError, match="another process has just appended to it; run again"):
        trajfmt.append(path)
    assert os.listdir(path.parent) == [path.name]  # it leaves nothing
    assert len(trajfmt.open(path, verify=True)) == 2
    with trajfmt.append(path) as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=2), layout))
    assert len(trajfmt.open(path, verify=True)) == 3


def test_finished_work_of_an_append_that_came_too_late_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle changed between its manifest and the lock; what an interrupted run had finished stays."""
    path = write_walks(tmp_path / "o.mct", 1, "convex")
    writer = trajfmt.append(path, job=b"job")
    writer.add(ArrayTrajectory(walk_of(8), LAYOUT))
    writer.release()
    real, seen = trajfmt.bundle.create.read_manifest, []

    def changed(place: Path) -> bytes:
        seen.append(place)
        return real(place) if len(seen) == 1 else b"another"

    with monkeypatch.context() as patch:
        patch.setattr(trajfmt.bundle.create, "read_manifest", changed)
        with pytest.raises(UsageError, match="another process has just appended to it; run again"):
            trajfmt.append(path, job=b"job")
    taken = trajfmt.append(path, job=b"job")
    assert len(taken.recover()) == 1
    taken.release()


def test_appends_through_a_link_meet_at_one_lock(tmp_path: Path) -> None:
    """A bundle has one hidden folder, whatever name it is reached by."""
    path = write_walks(tmp_path / "o.mct", 1, "convex")
    (tmp_path / "link.mct").symlink_to(path)
    first = trajfmt.append(path)
    with pytest.raises(UsageError, match="another process"):
        trajfmt.append(tmp_path / "link.mct")
    first.add(ArrayTrajectory(walk_of(8), LAYOUT))
    first.publish()
    with trajfmt.append(tmp_path / "link.mct") as second:
        second.add(ArrayTrajectory(walk_of(9), LAYOUT))
    assert len(trajfmt.open(path, verify=True)) == 3


def test_an_append_that_was_killed_at_its_end_is_found_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same job alone: what it appended is counted, and what it left is removed."""
    path = write_walks(tmp_path / "o.mct", 1, "convex")
    assert appended(path, b"job") is None
    with monkeypatch.context() as patch:
        patch.setattr(Staging, "discard", Staging.release)  # as a kill leaves it
        with trajfmt.append(path, job=b"job") as writer:
            writer.add(ArrayTrajectory(walk_of(8), LAYOUT))
    assert sorted(os.listdir(tmp_path)) == [".o.mct.partial", "o.mct"]
    assert appended(path, b"other") is None
    assert appended(path, b"job") == 2
    assert os.listdir(tmp_path) == ["o.mct"]
    assert appended(path, b"job") is None
    assert len(trajfmt.open(path, verify=True)) == 2


def test_the_job_of_an_append_belongs_to_the_bundle_as_it_was(tmp_path: Path) -> None:
    """The manifest is a part of it, so that finished work is taken over for the same one only."""
    path = write_walks(tmp_path / "o.mct", 1, "convex")
    before = (path / "manifest.json").read_bytes()
    writer = trajfmt.append(path, job=b"job words")
    writer.add(ArrayTrajectory(walk_of(8), LAYOUT))
    writer.release()
    taken = trajfmt.append(path, job=b"job words")
    assert len(taken.recover()) == 1
    taken.release()
    job = Staging.unfinished(path)
    assert job == hashlib.sha256(before).hexdigest().encode() + b"-job words"
