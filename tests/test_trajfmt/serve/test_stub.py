"""Small files in the place of a buffer's: what they give, and which are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import CorruptError, MissingError, ParamLayout, SourceError, UsageError

torch = pytest.importorskip("torch")
import trajfmt.torch  # noqa: E402  # needs torch
from tests.helpers.tensors import flat  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.export.run import export  # noqa: E402
from trajfmt.torch import load_buffer  # noqa: E402

Array = NDArray[np.generic]


def test_stubs_give_ranges_of_the_bundle(served: Path, tmp_path: Path) -> None:
    """Small text files; each gives its own trajectories; moved together with the bundle they still do."""
    with trajfmt.open(served) as bundle:
        export(bundle, tmp_path / "stubs", in_place=True, per_file=3)
    assert sorted(os.listdir(tmp_path / "stubs")) == ["replay_buffer_0.pt", "replay_buffer_1.pt"]
    assert all(p.stat().st_size < 400 for p in (tmp_path / "stubs").iterdir())
    (tmp_path / "elsewhere").mkdir()
    for name in ("stubs", served.name):
        os.rename(tmp_path / name, tmp_path / "elsewhere" / name)
    moved = tmp_path / "elsewhere"
    parts = [trajfmt.torch.load(moved / "stubs" / f"replay_buffer_{n}.pt") for n in (0, 1)]
    assert [len(part) for part in parts] == [3, 1]
    found = [[flat(step) for step in trajectory] for trajectory in parts[0] + parts[1]]
    whole = load_buffer(moved / served.name)
    assert found == [[flat(step) for step in trajectory] for trajectory in whole]


def test_a_stub_serves_no_other_bundle(
    thetas: list[Array], layout: ParamLayout, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Appending changes nothing; other trajectories under the name, or none, are one clear line."""
    path = write_bundle(layout, *thetas[:2], encoding="full")
    with trajfmt.open(path) as bundle:
        export(bundle, tmp_path / "stubs", in_place=True)
    stub = tmp_path / "stubs" / "replay_buffer_0.pt"
    with trajfmt.append(path) as writer:
        writer.add(trajfmt.ArrayTrajectory(thetas[2], layout))
    assert len(load_buffer(stub)) == 2
    os.rename(path, tmp_path / "old.mtt")
    with pytest.raises(MissingError, match="which is not there"):
        load_buffer(stub)
    write_bundle(layout, *thetas[2:], encoding="full")
    with pytest.raises(UsageError, match="have changed since this stub was written; write the stubs again"):
        load_buffer(stub)


@pytest.mark.parametrize(
    ("encoding", "before", "after", "twisted"),
    [
        ("full", {}, {}, True),
        ("convex", {"knots": (2,)}, {"knots": (3,)}, False),
        ("convex", {"knots": (2,)}, {"knots": (2,)}, True),
        ("convex", {}, {}, True),
        ("convex", {"knots": (2,)}, {"knots": (2,), "smooth": True}, False),
    ],
)
def test_a_stub_serves_no_other_trajectory_with_the_same_ends(
    thetas: list[Array],
    layout: ParamLayout,
    write_bundle: Callable[..., Path],
    tmp_path: Path,
    encoding: str,
    before: dict[str, object],
    after: dict[str, object],
    twisted: bool,
) -> None:
    """Other waypoints, knots, betas or smoothing are refused, though the digest is the same."""
    theta = thetas[0]
    path = write_bundle(layout, theta, encoding=encoding, **before)
    with trajfmt.open(path) as bundle:
        export(bundle, tmp_path / "stubs", in_place=True)
        digest = bundle.manifest.trajectories[0].digest
    stub = tmp_path / "stubs" / "replay_buffer_0.pt"
    os.rename(path, tmp_path / "old")
    write_bundle(layout, theta, encoding=encoding, **before)
    assert len(load_buffer(stub)) == 1  # the same bytes, written again
    os.rename(path, tmp_path / "older")
    other = theta.copy()
    if twisted:
        other[1:-1] *= 1.5
    write_bundle(layout, other, encoding=encoding, **after)
    assert trajfmt.open(path).manifest.trajectories[0].digest == digest
    with pytest.raises(UsageError, match="have changed since this stub was written"):
        load_buffer(stub)


@pytest.mark.parametrize(
    "change",
    [
        {"first": -1},
        {"kind": "code"},
        {"more": 1},
        {"count": 0},
        {"digest": "x"},
        {"bundle": ""},
        {"dtype": "int8"},
    ],
)
def test_a_damaged_stub_is_refused(served: Path, tmp_path: Path, change: dict[str, object]) -> None:
    """Fields that are wrong, missing, unknown; text that is cut short or too long."""
    with trajfmt.open(served) as bundle:
        export(bundle, tmp_path / "stubs", in_place=True)
    stub = tmp_path / "stubs" / "replay_buffer_0.pt"
    text = json.loads(stub.read_text())
    stub.write_text(json.dumps(text | change, separators=(",", ":")))
    for path in (load_buffer, trajfmt.torch.load):
        with pytest.raises(CorruptError, match="damaged stub"):
            path(stub)
    stub.write_text(json.dumps(text, separators=(",", ":"))[:60])
    with pytest.raises(CorruptError, match="damaged stub"):
        load_buffer(stub)
    stub.write_text(json.dumps(text, separators=(",", ":")) + " " * 20000)
    with pytest.raises(CorruptError, match="damaged stub"):
        load_buffer(stub)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "steps"}, "requests steps, but .* is a full bundle and has none"),
        ({"kind": "waypoints"}, "requests waypoints, but .* is a full bundle and has none"),
        ({"bundle": "x" * 3000}, "cannot be opened: File name too long"),
        ({"count": 2**31 - 1}, "have changed since this stub was written"),
        ({"part": "../image"}, "has no part"),
    ],
)
def test_a_stub_of_a_stranger_gives_one_line(
    thetas: list[Array],
    layout: ParamLayout,
    write_bundle: Callable[..., Path],
    tmp_path: Path,
    change: dict[str, object],
    match: str,
) -> None:
    """Betas of a bundle that keeps every timestep, a name that no file can have, a range that it lacks."""
    with trajfmt.open(write_bundle(layout, *thetas, encoding="full")) as bundle:
        export(bundle, tmp_path / "stubs", in_place=True)
    stub = tmp_path / "stubs" / "replay_buffer_0.pt"
    stub.write_text(json.dumps(json.loads(stub.read_text()) | change, separators=(",", ":")))
    with pytest.raises(UsageError, match=match) as caught:
        trajfmt.torch.load(stub)
    assert "\n" not in str(caught.value)


def test_float32_stubs_give_float32(layout: ParamLayout, thetas: list[Array], tmp_path: Path) -> None:
    """`--float32` is remembered in the stub."""
    double = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype="F64")
    with trajfmt.create(tmp_path / "a.mtt", double, encoding="full") as writer:
        writer.add(trajfmt.ArrayTrajectory(thetas[0].astype(np.float64), double))
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        export(bundle, tmp_path / "stubs", in_place=True, float32=True)
    step = trajfmt.torch.load(tmp_path / "stubs" / "replay_buffer_0.pt")[0][0]
    assert {tensor.dtype for tensor in step} == {torch.float32}


def test_a_stub_that_is_converted_says_what_it_is(served: Path, tmp_path: Path) -> None:
    """Its folder looks like a buffer's; the line says that the bundle is to be given."""
    with trajfmt.open(served) as bundle:
        export(bundle, tmp_path / "stubs", in_place=True)
    with pytest.raises(SourceError, match="a stub that names a bundle"):
        convert(tmp_path / "stubs", tmp_path / "again.mtt")
