"""The MCT authors' pairs of files, as their reader takes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ParamLayout, UsageError
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

torch = pytest.importorskip("torch")
import trajfmt.torch  # noqa: E402  # needs torch
from tests.foreign import mct_authors as theirs  # noqa: E402  # the generators need torch
from trajfmt.export.run import export  # noqa: E402

Array = NDArray[np.generic]


def flat(step: Any) -> bytes:
    """Return a timestep's bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in step)


@pytest.mark.parametrize(
    ("knots", "ablation"), [(2, ""), (4, ""), (5, ""), (2, "_uni"), (2, "_dec"), (2, "_proj")]
)
@pytest.mark.parametrize("in_place", [False, True])
def test_authors_files_come_back_as_they_were(
    knots: int, ablation: str, in_place: bool, tmp_path: Path
) -> None:
    """Names, nesting, types, knots bit for bit; betas too, but where their rounding was put right."""
    made = [theirs.expert(seed) for seed in range(3)]
    infix = theirs.write(tmp_path / "in", [made[:2], made[2:]], knots, ablation)
    convert(tmp_path / "in", tmp_path / "a.mct")
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        export(bundle, tmp_path / "out", to="mct-authors", per_file=2, in_place=in_place)
        found = len(bundle[0].knots)
    shown = infix if knots != 5 else f"_ip{found}"  # what the name should have said
    names = [f"{half}_buffer{shown}_{n}.pt" for half in ("waypoint", "step") for n in (0, 1)]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(names)
    for name in names:
        ours = trajfmt.torch.load(tmp_path / "out" / name)
        own = torch.load(tmp_path / "in" / name.replace(shown, infix))
        assert type(ours) is list
        if "waypoint" in name:
            assert [[flat(knot) for knot in one] for one in ours] == [[flat(k) for k in one] for one in own]
            assert all(type(knot) is list for one in ours for knot in one)
            continue
        for one, two in zip(ours, own, strict=True):
            for segment, other in zip(one, two, strict=True) if knots > 2 else [(one, two)]:
                assert type(segment) is list
                assert all(beta.shape == () and beta.dtype == torch.float32 for r in segment for beta in r)
                got, expected = (torch.tensor([[float(b) for b in r] for r in s]) for s in (segment, other))
                assert (got - expected).abs().max() <= 1e-6
                assert (got != expected).float().mean() < 0.05


def test_authors_point_of_ours_is_ours(
    layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Lerp of lerped betas, as their reader does it, on files from a bundle of modules' betas."""
    grouped = layout.regroup("all")
    path = write_bundle(grouped, walk(grouped, 12), knots=(4, 7), smooth=True)
    with trajfmt.open(path) as bundle:
        export(bundle, tmp_path / "out", to="mct-authors")
        (waypoints,) = torch.load(tmp_path / "out" / "waypoint_buffer_ip4_0.pt")
        (steps,) = torch.load(tmp_path / "out" / "step_buffer_ip4_0.pt")
        starts = [0, 4, 7, 11]
        for t in np.random.default_rng(0).uniform(0, 11, 50):
            s = max(i for i in range(3) if starts[i] <= t)
            low = int(t) - starts[s]
            betas = [torch.lerp(a, b, float(t % 1)) for a, b in zip(*steps[s][low : low + 2], strict=True)]
            point = [
                torch.lerp(a, b, w) for a, b, w in zip(waypoints[s], waypoints[s + 1], betas, strict=True)
            ]
            ours = bundle[0].at(t)
            got = torch.cat([p.reshape(-1) for p in point]).numpy()
            assert np.abs(got - ours).max() <= 3e-7 * np.abs(ours).max()


def test_authors_need_convexified_trajectories_with_as_many_knots(hundred: Path, tmp_path: Path) -> None:
    """From a .mtt the advice is to convert; their reader takes one number for all."""
    with trajfmt.open(hundred) as bundle, pytest.raises(UsageError, match=r"traj convert to a \.mct first"):
        export(bundle, tmp_path / "out", to="mct-authors")
    for number, knots in enumerate((3, 4)):
        theirs.write(tmp_path / str(knots), [[theirs.expert(number)]], knots)
        convert(tmp_path / str(knots), tmp_path / "a.mct", ConvertOptions(append=number > 0))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        with pytest.raises(UsageError, match="trajectory 0 has 3, trajectory 1 has 4"):
            export(bundle, tmp_path / "out", to="mct-authors")
        export(bundle, tmp_path / "dense", to="mtt")
    assert not (tmp_path / "out").exists()


def test_half_precision_knots_become_float32(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Their lerp takes one type only; the values are the same."""
    half = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype="F16")
    with trajfmt.create(tmp_path / "a.mct", half, encoding="convex") as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(layout).astype("f2"), half))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        export(bundle, tmp_path / "out", to="mct-authors")
        (waypoints,) = torch.load(tmp_path / "out" / "waypoint_buffer_0.pt")
        assert waypoints[1][0].dtype == torch.float32
        got = torch.cat([p.reshape(-1) for p in waypoints[1]]).numpy()
        assert np.array_equal(got, bundle[0].knot(1).astype("f4"))
