"""Creating, appending and publishing: nothing unfinished is ever seen."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
import trajfmt.bundle.create
from trajfmt import (
    ArrayTrajectory,
    ExistsError,
    NotABundleError,
    ParamLayout,
    Provenance,
    SourceError,
    UnsafeError,
    UsageError,
)
from trajfmt.bundle.validation import validate
from trajfmt.schema.manifest import Origin
from trajfmt.schema.provenance import SourceFile

Array = NDArray[np.generic]
Walk = Callable[..., Array]
Write = Callable[..., Path]


def _contents(path: Path) -> dict[str, str]:
    """Return a hash for every file under a folder."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


VARIANTS: list[dict[str, Any]] = [
    {"encoding": "convex"},
    {"encoding": "convex", "knots": (1, 3), "smooth": True},
    {"encoding": "full"},
    {"encoding": "full", "codec": "zstd"},
    {"encoding": "full", "codec": "archive"},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_bundle_is_complete_and_listed(
    options: dict[str, Any], layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """The manifest lists every other file with its size and hash, and nothing is left beside the bundle."""
    path = write_bundle(layout, walk(layout), walk(layout, timesteps=8, seed=1), **options)
    files = {f["path"]: f for f in json.loads((path / "manifest.json").read_bytes())["files"]}
    assert _contents(path) == {"manifest.json": _contents(path)["manifest.json"]} | {
        name: entry["sha256"] for name, entry in files.items()
    }
    assert all((path / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    assert os.listdir(path.parent) == [path.name]
    assert validate(path) == []


def test_same_input_gives_the_same_bytes(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Also a second later, at another place: no time stamp, no address, no random order."""
    provenance = Provenance(dataset="CIFAR10", recipe={"b": 1, "a": 2.5}, known_from={"dataset": "flag"})
    found = []
    for _ in range(2):
        paths = [
            write_bundle(layout, walk(layout), name=f"{len(found)}-{n}", provenance=provenance, **options)
            for n, options in enumerate(VARIANTS)
        ]
        found.append([_contents(path) for path in paths])
        time.sleep(1.01 - time.time() % 1)  # HDF5 time stamps count seconds
    assert found[0] == found[1]
    assert len({contents["manifest.json"] for contents in found[0]}) == len(VARIANTS)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_leaves_nothing(
    error: type[BaseException], layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Neither the bundle nor the folder in which it was built."""
    with pytest.raises(error), trajfmt.create(tmp_path / "out", layout, encoding="full") as writer:  # noqa: PT012  # what ends the block is the case
        writer.add(ArrayTrajectory(walk(layout), layout))
        assert not (tmp_path / "out").exists()
        raise error
    assert os.listdir(tmp_path) == []


def test_nothing_is_there_before_the_end(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """The bundle appears complete, in one step."""
    with trajfmt.create(tmp_path / "out", layout, encoding="convex") as writer:
        assert (writer.add(ArrayTrajectory(walk(layout), layout)), len(writer)) == (0, 1)
        assert (writer.add(ArrayTrajectory(walk(layout, seed=1), layout)), len(writer)) == (1, 2)
        assert not (tmp_path / "out").exists()
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 2


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
    before = _contents(tmp_path)
    with pytest.raises(ExistsError):
        trajfmt.create(path, layout, encoding="convex")
    assert os.path.lexists(path)
    assert _contents(tmp_path) == before


def test_destination_that_appears_meanwhile_is_not_replaced(
    layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Somebody else's folder wins over ours."""
    with pytest.raises(ExistsError), trajfmt.create(tmp_path / "out", layout, encoding="full") as writer:  # noqa: PT012  # what ends the block is the case
        writer.add(ArrayTrajectory(walk(layout), layout))
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine").write_text("mine")
    assert _contents(tmp_path) == {"out/mine": hashlib.sha256(b"mine").hexdigest()}


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


def test_bundle_without_a_trajectory_is_not_written(layout: ParamLayout, tmp_path: Path) -> None:
    """Nothing in, nothing out."""
    with pytest.raises(SourceError) as caught, trajfmt.create(tmp_path / "out", layout, encoding="full"):
        pass
    assert caught.value.reason == "nothing_to_convert"
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


@pytest.mark.parametrize("encoding", ["convex", "full"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda theta: theta[:1], "too_few_timesteps"),
        (lambda theta: theta[:0], "too_few_timesteps"),
        (lambda theta: np.where(np.arange(9) == 7, np.float32(np.nan), theta), "non_finite"),
    ],
)
def test_refused_trajectory_leaves_the_writer_usable(
    encoding: Any, change: Any, reason: str, layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """What was refused is not in the bundle, what comes after it is."""
    with trajfmt.create(tmp_path / "out", layout, encoding=encoding) as writer:
        with pytest.raises(SourceError) as caught:
            writer.add(ArrayTrajectory(change(walk(layout)), layout))
        assert caught.value.reason == reason
        assert writer.add(ArrayTrajectory(walk(layout), layout)) == 0
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 1
    assert validate(tmp_path / "out") == []


def test_trajectory_that_never_moves_is_refused(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """All layers still means that nothing was trained."""
    with trajfmt.create(tmp_path / "out", layout, encoding="convex") as writer:
        with pytest.raises(SourceError) as caught:
            writer.add(ArrayTrajectory(np.repeat(walk(layout)[:1], 4, axis=0), layout))
        assert caught.value.reason == "no_motion"
        writer.add(ArrayTrajectory(walk(layout), layout))


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_duplicate_is_refused_with_its_number(
    encoding: Any, layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Also when it was written by an earlier process."""
    first, second = walk(layout), walk(layout, seed=1)
    with trajfmt.create(tmp_path / "out", layout, encoding=encoding) as writer:
        writer.add(ArrayTrajectory(second, layout))
        writer.add(ArrayTrajectory(first, layout))
        with pytest.raises(SourceError, match="number 1") as caught:
            writer.add(ArrayTrajectory(first.copy(), layout))
        assert caught.value.reason == "duplicate_trajectory"
    with trajfmt.append(tmp_path / "out") as writer:
        with pytest.raises(SourceError, match="number 0"):
            writer.add(ArrayTrajectory(second, layout))
        writer.add(ArrayTrajectory(walk(layout, seed=2), layout))
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 3


def test_unequal_lengths_are_legal(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Each trajectory has its own T; inserted knots must fit each."""
    path = write_bundle(layout, walk(layout, timesteps=4), walk(layout, timesteps=300, seed=1), knots=(2,))
    with trajfmt.open(path) as bundle:
        assert [item.knots for item in bundle] == [(0, 2, 3), (0, 2, 299)]
    with trajfmt.append(path) as writer:
        with pytest.raises(SourceError) as caught:
            writer.add(ArrayTrajectory(walk(layout, timesteps=3, seed=2), layout))
        assert caught.value.reason == "too_few_timesteps"
        writer.add(ArrayTrajectory(walk(layout, timesteps=5, seed=2), layout))


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
    before = _contents(path)
    with trajfmt.open(path) as old:
        first = old[0].at(0).tobytes()
        with trajfmt.append(path) as writer:
            assert writer.add(ArrayTrajectory(walk(layout, seed=2), layout)) == 2
            assert _contents(path) == before
        assert (len(old), old[0].at(0).tobytes()) == (2, first)
        assert old[1].at(5).shape == (9,)
    after = _contents(path)
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
    before = _contents(path.parent)
    with pytest.raises(RuntimeError), trajfmt.append(path) as writer:  # noqa: PT012  # what ends the block is the case
        writer.add(ArrayTrajectory(walk(layout, seed=1), layout))
        raise RuntimeError
    assert _contents(path.parent) == before


def test_append_with_an_unknown_write_feature_is_refused(
    layout: ParamLayout, walk: Walk, write_bundle: Write, edit_manifest: Callable[..., None]
) -> None:
    """Reading goes on, writing does not."""
    path = write_bundle(layout, walk(layout))
    edit_manifest(path, lambda manifest: manifest.update(requires_write=["index"]))
    before = _contents(path.parent)
    with pytest.raises(NotABundleError, match="index") as caught:
        trajfmt.append(path)
    assert caught.value.reason == "unknown_feature"
    assert _contents(path.parent) == before
    assert trajfmt.open(path, verify=True)[0].at(0).shape == (9,)


def test_a_full_disk_leaves_nothing(
    layout: ParamLayout, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the system while the manifest is written removes what was built."""

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with (  # noqa: PT012  # what ends the block is the case
        pytest.raises(OSError, match="No space"),
        trajfmt.create(tmp_path / "out", layout, encoding="convex") as writer,
    ):
        writer.add(ArrayTrajectory(walk(layout), layout))
        monkeypatch.setattr(os, "fsync", full)
    assert os.listdir(tmp_path) == []


def test_interrupted_work_is_taken_over_by_the_same_job_only(
    layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """The same job continues and gives the same bytes; another job starts afresh."""
    thetas = [walk(layout, seed=seed) for seed in range(3)]

    origins = [Origin(0, number) for number in range(3)]
    provenance = Provenance(sources=[SourceFile("a.pt", 1, "0" * 64)])
    writer = trajfmt.create(tmp_path / "out", layout, encoding="convex", job=b"1", provenance=provenance)
    for theta, origin in zip(thetas[:2], origins, strict=False):
        writer.add(ArrayTrajectory(theta, layout), origin=origin)
    writer.release()
    writer = trajfmt.create(tmp_path / "out", layout, encoding="convex", job=b"1", provenance=provenance)
    assert writer.recover() == origins[:2]
    assert writer.recover() == []
    writer.add(ArrayTrajectory(thetas[2], layout), origin=origins[2])
    writer.publish()
    with trajfmt.create(tmp_path / "once", layout, encoding="convex", provenance=provenance) as whole:
        for theta, origin in zip(thetas, origins, strict=True):
            whole.add(ArrayTrajectory(theta, layout), origin=origin)
    assert _contents(tmp_path / "out") == _contents(tmp_path / "once")
    writer = trajfmt.create(tmp_path / "other", layout, encoding="convex", job=b"1")
    writer.add(ArrayTrajectory(thetas[0], layout))
    writer.release()
    writer = trajfmt.create(tmp_path / "other", layout, encoding="convex", job=b"2")
    assert writer.recover() == []
    writer.discard()
    assert sorted(os.listdir(tmp_path)) == ["once", "out"]


class Careless:
    """A source that gives other arrays than the layout says."""

    def __init__(self, theta: Array, cuts: list[int]) -> None:
        self.theta, self.cuts = theta, cuts

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return len(self.theta)

    def read(self, t: int, parameter: int) -> Array:
        """Return what the layout calls a parameter, or not."""
        return self.theta[t, self.cuts[parameter] : self.cuts[parameter + 1]]


@pytest.mark.parametrize("encoding", ["convex", "full"])
@pytest.mark.parametrize("case", ["float64", "other sizes"])
def test_source_that_does_not_fit_the_layout_is_refused(
    case: str, encoding: Any, layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Nothing is cast, shifted or broadcast without a word."""
    theta = walk(layout)
    source = (
        Careless(theta.astype("<f8") + 1e-12, list(layout.offsets))
        if case == "float64"
        else Careless(theta, [0, 2, 8, 9])
    )
    with (
        pytest.raises(UsageError, match="the source does not fit the layout: timestep"),
        trajfmt.create(tmp_path / "out", layout, encoding=encoding) as writer,
    ):
        writer.add(source)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_big_endian_array_is_converted(
    encoding: str, layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """The values of the array count, not its bytes."""
    theta = walk(layout)
    path = write_bundle(layout, theta.astype(">f4"), encoding=encoding)
    with trajfmt.open(path, verify=True) as bundle:
        assert [bundle[0].at(t).tobytes() for t in (0, 5)] == [theta[t].tobytes() for t in (0, 5)]


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_memory_order_of_an_array_does_not_matter(
    order: str, layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """Rows need not be contiguous."""
    theta = walk(layout)
    given = {
        "C": theta,
        "F": np.asfortranarray(theta),
        "strided": np.repeat(np.repeat(theta, 2, axis=0), 3, axis=1)[::2, ::3],
    }[order]
    for encoding in ("convex", "full"):
        path = write_bundle(layout, given, name=encoding, encoding=encoding)
        assert trajfmt.open(path)[0].at(5).tobytes() == theta[5].tobytes()


@pytest.mark.parametrize("shape", [(6, 8), (6, 10), (54,), (6, 9, 1)])
def test_array_of_another_shape_is_a_usage_error(shape: tuple[int, ...], layout: ParamLayout) -> None:
    """`(T+1, P)` is expected."""
    with pytest.raises(UsageError, match="shape"):
        ArrayTrajectory(np.zeros(shape, "<f4"), layout)


@pytest.mark.parametrize("dtype", ["<f8", "<f2", "<i4", "<c8"])
def test_array_of_another_dtype_is_a_usage_error(dtype: str, layout: ParamLayout) -> None:
    """Nothing is rounded without being asked for."""
    with pytest.raises(UsageError, match="F32"):
        ArrayTrajectory(np.zeros((2, 9), dtype), layout)


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


def test_publishing_inside_the_block_is_enough(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """An explicit `publish` is not an error at the end of the block."""
    with trajfmt.create(tmp_path / "out", layout, encoding="full") as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
        writer.publish()
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 1


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


def test_change_of_the_working_folder_while_writing(
    layout: ParamLayout, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle appears where it was asked for."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with trajfmt.create("out", layout, encoding="full") as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
        monkeypatch.chdir(tmp_path / "b")
    assert os.listdir(tmp_path / "a") == ["out"]


def test_append_to_a_bundle_whose_files_have_other_names(
    layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """Names of files mean nothing: trajectory 0 may lie in 00001.h5."""
    path = write_bundle(layout, walk(layout), encoding="full")
    os.rename(path / "theta/00000.h5", path / "theta/00001.h5")
    manifest = (path / "manifest.json").read_bytes().replace(b"00000.h5", b"00001.h5")
    (path / "manifest.json").write_bytes(manifest)
    with trajfmt.append(path) as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=1), layout))
    assert len(trajfmt.open(path, verify=True)) == 2


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
    with pytest.raises(UsageError, match="another process has just added to it; run again"):
        trajfmt.append(path)
    assert len(trajfmt.open(path, verify=True)) == 2
    with trajfmt.append(path) as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=2), layout))
    assert len(trajfmt.open(path, verify=True)) == 3
