"""`export --to`: what DATM's, the MCT authors' and checkpoint-reading code expects; stubs; refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from safetensors.numpy import load_file
from traj_cli.traj import main

import trajfmt
from trajfmt import ParamLayout, Provenance, TimestepUnit, UsageError
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

torch = pytest.importorskip("torch")

import trajfmt.torch  # noqa: E402  # needs torch
from tests.foreign import mct_authors as theirs  # noqa: E402  # the generators need torch
from tests.foreign import towers  # noqa: E402
from trajfmt.export.run import TARGETS, check, export  # noqa: E402

Array = NDArray[np.generic]


@pytest.fixture
def hundred(layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path]) -> Path:
    """Return a full bundle of 100 trajectories of 5 timesteps."""
    return write_bundle(layout, *(walk(layout, 5, seed) for seed in range(100)), encoding="full")


def flat(step: Any) -> bytes:
    """Return a timestep's bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in step)


# --- datm -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True])
def test_datm_finds_every_label_model_where_it_looks(hundred: Path, tmp_path: Path, in_place: bool) -> None:
    """File `cur // 10 % 10`, trajectory `cur % 10`, timestep -1, for every cur up to 100; ten a file."""
    with trajfmt.open(hundred) as bundle:
        assert export(bundle, tmp_path / "out", to="datm", in_place=in_place) == 100
        files = [tmp_path / "out" / f"replay_buffer_{n}.pt" for n in range(10)]
        assert sorted(os.listdir(tmp_path / "out")) == sorted(file.name for file in files)
        for cur in range(100):
            buffer = trajfmt.torch.load(files[int(cur / 10) % 10])
            assert len(buffer) == 10
            assert flat(buffer[cur % 10][-1]) == bundle[cur].at(4).tobytes()


@pytest.mark.parametrize(("count", "missing"), [(7, 93), (90, 10), (101, 9)])
def test_datm_says_how_many_are_missing(
    count: int,
    missing: int,
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Ten full files at least; nothing is written otherwise."""
    path = write_bundle(layout, *(walk(layout, 3, seed) for seed in range(count)), encoding="full")
    with trajfmt.open(path) as bundle, pytest.raises(UsageError, match=rf"{missing} are missing"):
        export(bundle, tmp_path / "out", to="datm")
    assert os.listdir(tmp_path) == [path.name]


def test_datm_refuses_unequal_lengths_and_other_files(
    layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """It draws timesteps and indices as if all were like the first."""
    path = write_bundle(layout, *(walk(layout, 3 + (s == 57), s) for s in range(100)), encoding="full")
    with trajfmt.open(path) as bundle:
        with pytest.raises(UsageError, match=r"trajectory 57 has 4.*--timesteps 0:3"):
            export(bundle, tmp_path / "out", to="datm")
        with pytest.raises(UsageError, match="10 trajectories a file"):
            export(bundle, tmp_path / "out", to="datm", per_file=5)


# --- mct-authors ------------------------------------------------------------------------------------------


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


# --- towers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("suffix", [".mtt", ".mct"])
def test_towers_go_back_to_their_two_files(in_place: bool, suffix: str, tmp_path: Path) -> None:
    """Files of both halves, one number for one expert, each with its own tensors."""
    written = towers.lors(tmp_path / "in")
    convert(written.folder, tmp_path / f"a{suffix}")
    with trajfmt.open(tmp_path / f"a{suffix}") as bundle:
        export(bundle, tmp_path / "out", to="towers", per_file=1, in_place=in_place)
        last = bundle[0].last
    for half, experts in (("img", written.images), ("txt", written.texts)):
        for n, expert in enumerate(experts):
            (found,) = trajfmt.torch.load(tmp_path / "out" / f"{half}_replay_buffer_{n}.pt")
            for t in range(last + 1) if suffix == ".mtt" else (0, last):
                assert [tuple(p.shape) for p in found[t]] == [tuple(p.shape) for p in expert[t]]
                assert flat(found[t]) == flat(expert[t])
    assert len(os.listdir(tmp_path / "out")) == 6


def test_what_is_no_pair_of_towers_is_refused(hundred: Path, tmp_path: Path) -> None:
    """One line that names the first parameter."""
    with trajfmt.open(hundred) as bundle, pytest.raises(UsageError, match=r"`fc\.weight`"):
        export(bundle, tmp_path / "out", to="towers")


# --- checkpoints ------------------------------------------------------------------------------------------


class Carried(trajfmt.ArrayTrajectory):
    """A trajectory with numbers of its own and running statistics."""

    numbers = (0, 100, 250, 1000)

    def buffers(self, t: int) -> Mapping[str, Array]:
        """Return statistics of timestep t."""
        return {
            "bn.running_mean": np.full(3, t, np.float32),
            "bn.num_batches_tracked": np.array(t, np.int64),
        }


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F64"])
def test_checkpoints_are_read_back_bit_for_bit(
    dtype: str, layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Every timestep under its own number, with its buffers, in any safetensors reader and in ours."""
    kind: Any = dtype
    other = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype=kind)
    thetas = [walk(layout, 4, seed).astype(other.numpy_dtype) for seed in range(2)]
    with trajfmt.create(tmp_path / "a.mtt", other, encoding="full") as writer:
        for theta in thetas:
            writer.add(Carried(theta, other))
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        assert export(bundle, tmp_path / "out", to="checkpoints") == 2
    assert sorted(os.listdir(tmp_path / "out")) == ["00000", "00001"]
    steps = sorted(os.listdir(tmp_path / "out" / "00001"))
    assert steps == sorted(f"checkpoint-{n}" for n in Carried.numbers)
    if dtype != "BF16":  # safetensors' numpy reader has no such type
        found = load_file(tmp_path / "out" / "00001" / "checkpoint-250" / "model.safetensors")
        assert found["bn.num_batches_tracked"] == 2
        for name, value in other.split(thetas[1][2]).items():
            assert found[name].tobytes() == value.tobytes()
            assert found[name].shape == value.shape
    convert(tmp_path / "out", tmp_path / "b.mtt")
    with trajfmt.open(tmp_path / "b.mtt") as back:
        assert back.layout == other
        for item, theta in zip(back, thetas, strict=True):
            assert item.numbers == Carried.numbers
            for t in range(4):
                assert item.at(t).tobytes() == theta[t].tobytes()
                assert item.buffers(t)["bn.running_mean"].tolist() == [t, t, t]


def test_checkpoints_of_a_convexified_bundle(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Whole timesteps of the path, numbered by what the bundle knows of their unit; float32 on request."""
    about = Provenance(timestep=TimestepUnit(kind="epoch", every=5), first_timestep=2)
    double = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype="F64")
    with trajfmt.create(tmp_path / "a.mct", double, encoding="convex", provenance=about) as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(double, 4), double))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        assert check(bundle, to="checkpoints") == ["checkpoints are numbered in epochs"]
        export(bundle, tmp_path / "out", to="checkpoints", float32=True)
        names = os.listdir(tmp_path / "out" / "00000")
        assert sorted(names) == sorted(f"checkpoint-{n}" for n in (10, 15, 20, 25))
        found = load_file(tmp_path / "out" / "00000" / "checkpoint-15" / "model.safetensors")
        expected = bundle.layout.split(bundle[0].at(1).astype("f4"))
        assert {n: v.tobytes() for n, v in found.items()} == {n: v.tobytes() for n, v in expected.items()}
        with pytest.raises(UsageError, match=r"only files for torch\.load"):
            export(bundle, tmp_path / "again", to="checkpoints", in_place=True)
    assert not (tmp_path / "again").exists()


def test_a_name_that_safetensors_reserves_is_refused(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """A carried `__metadata__` would make a file that no reader opens; nothing is written."""

    class Reserved(Carried):
        def buffers(self, t: int) -> dict[str, Array]:
            return {"__metadata__": np.array([t])}

    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        writer.add(Reserved(walk(layout, 4), layout))
    with (
        trajfmt.open(tmp_path / "a.mct") as bundle,
        pytest.raises(UsageError, match="a name that safetensors files reserve"),
    ):
        export(bundle, tmp_path / "out", to="checkpoints")
    assert sorted(os.listdir(tmp_path)) == ["a.mct"]


# --- all --------------------------------------------------------------------------------------------------


def test_mtt_is_told_of_lengths_and_types(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """What would end in an IndexError or in a clash of types in MTT's code."""
    double = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype="F64")
    with trajfmt.create(tmp_path / "a.mtt", double, encoding="full") as writer:
        for timesteps in (5, 8):
            writer.add(trajfmt.ArrayTrajectory(walk(double, timesteps), double))
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        lengths, types = check(bundle)
        assert "end at 4 to 7: keep max_start_epoch + expert_epochs <= 5" in lengths
        assert "weights are F64" in types
        export(bundle, tmp_path / "out", float32=True)
        (one, _) = torch.load(tmp_path / "out" / "replay_buffer_0.pt")
        assert one[2][0].dtype == torch.float32
        assert flat(one[2]) == bundle[0].at(2).astype("f4").tobytes()


def test_targets_have_names(hundred: Path, tmp_path: Path) -> None:
    """The table is what --to offers; another name is one line."""
    assert [target.name for target in TARGETS] == ["mtt", "datm", "towers", "mct-authors", "checkpoints"]
    with trajfmt.open(hundred) as bundle, pytest.raises(UsageError, match="`to` must be one of mtt, datm"):
        export(bundle, tmp_path / "out", to="numpy")


@pytest.mark.parametrize("to", ["mtt", "mct-authors", "checkpoints"])
@pytest.mark.parametrize("in_place", [False, True])
def test_stopped_in_the_middle_leaves_nothing(
    to: str,
    in_place: bool,
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Ctrl-C after the first trajectory: no destination, no rest of it."""
    if in_place and to == "checkpoints":
        return

    def stop(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    path = write_bundle(layout, *(walk(layout, 5, seed) for seed in range(3)))
    with trajfmt.open(path) as bundle, pytest.raises(KeyboardInterrupt):
        export(bundle, tmp_path / "out", to=to, in_place=in_place, per_file=1, on_trajectory=stop)
    assert os.listdir(tmp_path) == [path.name]


def test_the_command_is_interrupted_cleanly(hundred: Path, tmp_path: Path) -> None:
    """SIGINT in the middle of a long export: exit code 130, one line, nothing at the destination."""
    code = (
        "import sys, time; from importlib.metadata import entry_points\n"
        "import trajfmt.export.checkpoints as target\n"
        "plain = target._checkpoint\n"
        "def slow(*a, **k): print('.', flush=True); time.sleep(0.05); plain(*a, **k)\n"
        "target._checkpoint = slow\n"
        "sys.argv = ['traj', 'export', *sys.argv[1:]]\n"
        "(script,) = entry_points(group='console_scripts', name='traj'); sys.exit(script.load()())"
    )
    arguments = [hundred, tmp_path / "out", "--to", "checkpoints"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == [hundred.name]


@pytest.mark.parametrize("to", ["mtt", "datm", "mct-authors", "checkpoints"])
def test_the_command_exports(to: str, hundred: Path, tmp_path: Path) -> None:
    """All targets from the command line, in place where that is possible; notes go to stderr."""
    source = hundred
    if to == "mct-authors":
        source = tmp_path / "a.mct"
        convert(hundred, source)
    ways: list[list[str]] = [[]] if to == "checkpoints" else [[], ["--in-place"]]
    for number, way in enumerate(ways):
        target = tmp_path / f"out{number}"
        done = CliRunner().invoke(main, ["export", str(source), str(target), "--to", to, *way])
        assert done.exit_code == 0, done.output
        assert "100 trajectories" in done.stdout
        assert ("trajfmt.torch.load" in done.stdout) == bool(way)
        assert any(target.iterdir())


def test_stub_text_is_small_and_plain(hundred: Path, tmp_path: Path) -> None:
    """One line of JSON with a relative path: no pickle, nothing to run."""
    with trajfmt.open(hundred) as bundle:
        export(bundle, tmp_path / hundred.name / ".." / "out", in_place=True)
    text = (tmp_path / "out" / "replay_buffer_3.pt").read_text()
    stub = json.loads(text)
    assert text.count("\n") == 1
    assert stub == {
        "trajfmt_buffer": 1,
        "kind": "trajectories",
        "bundle": f"../{hundred.name}",
        "first": 30,
        "count": 10,
        "digest": stub["digest"],
    }
    assert msgspec.json.decode(text)["first"] == 30
