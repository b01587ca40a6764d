"""Conversion: exact ends, eq. 9, smoothing, equal bytes, storage and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import SourceError

torch = pytest.importorskip("torch")
from tests.helpers.conversion import SMALL, beta, files, flat, run, save, size, theta  # noqa: E402

# --- eqs. 8 to 10 -----------------------------------------------------------------------------------------

GROUPS = {
    "tensor": [[0], [1], [2], [3], [4], [5]],
    "module": [[0, 1], [2, 3], [4, 5]],
    "all": [[0, 1, 2, 3, 4, 5]],
}


@pytest.mark.parametrize("knots", [(), (3,), (1, 2, 6)])
@pytest.mark.parametrize("layers", ["tensor", "module", "all"])
def test_betas_and_knots_are_those_of_the_paper(tmp_path: Path, layers: Any, knots: tuple[int, ...]) -> None:
    """Knots are the source's bits and u equals eq. 9 computed independently, for every grouping."""
    experts = [theta(1, shapes=SMALL), theta(2, shapes=SMALL)]
    for step in experts[0]:
        step[1] = experts[0][0][1]  # a layer that never moves
    for step in experts[1][:4]:
        step[3] = experts[1][0][3]  # one that starts to move late
    run(save(tmp_path / "src", experts), tmp_path / "out.mct", layers=layers, knots=knots)
    stored = [0, *knots, 7]
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        for item, steps in zip(bundle, experts, strict=True):
            assert list(item.knots) == stored
            for k, t in enumerate(stored):
                assert item.knot(k).tobytes() == flat(steps)[t].tobytes()
            expected = beta(steps, GROUPS[layers], stored)
            assert item.u.shape == expected.shape
            assert np.abs(item.u - expected).max() <= 1e-12
            for k, t in enumerate(stored):
                assert item.at(t).tobytes() == flat(steps)[t].tobytes()
                assert (item.u[t] == k).all()


@pytest.mark.parametrize("knots", [(), (2, 5)])
def test_weights_between_timesteps_follow_equations_8_and_10(tmp_path: Path, knots: tuple[int, ...]) -> None:
    """At 100 random t the weights equal the paper's line, layer by layer, to 1e-6 relative."""
    steps = theta(4)
    run(save(tmp_path / "src", [steps]), tmp_path / "out.mct", knots=knots)
    stored = [0, *knots, 7]
    u, whole = beta(steps, [[i] for i in range(4)], stored), flat(steps).astype(np.float64)
    edges = np.cumsum([0, *(x.size for x in steps[0])])
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        for t in np.random.default_rng(0).uniform(0, 7, 100):
            found = bundle[0].at(float(t))
            low = min(int(t), 6)
            for layer in range(4):
                position = (1 - (t - low)) * u[low, layer] + (t - low) * u[low + 1, layer]
                s = min(int(position), len(stored) - 2)
                w = position - s
                part = slice(edges[layer], edges[layer + 1])
                line = (1 - w) * whole[stored[s], part] + w * whole[stored[s + 1], part]
                assert np.linalg.norm(found[part] - line) <= 1e-6 * np.linalg.norm(line)


def test_smoothing_averages_knots_after_the_betas(tmp_path: Path) -> None:
    """Inserted knots become the mean of their neighbours, the last the mean of the last two; betas stay."""
    steps = theta(5)
    source = save(tmp_path / "src", [steps])
    run(source, tmp_path / "plain.mct", knots=(1, 4))
    run(source, tmp_path / "smooth.mct", knots=(1, 4), smooth=True)
    whole = flat(steps).astype(np.float64)
    expected = [whole[0], (whole[0] + whole[2]) / 2, (whole[3] + whole[5]) / 2, (whole[6] + whole[7]) / 2]
    with trajfmt.open(tmp_path / "smooth.mct") as bundle, trajfmt.open(tmp_path / "plain.mct") as plain:
        for k, knot in enumerate(expected):
            assert np.array_equal(bundle[0].knot(k), knot.astype(np.float32))
        assert np.array_equal(bundle[0].u, plain[0].u)
        assert bundle.manifest.smoothed
        assert not plain.manifest.smoothed


def test_smoothing_at_neighbouring_knots_uses_the_original_weights(tmp_path: Path) -> None:
    """Means are of the source's timesteps, never of knots that are already smoothed."""
    steps = theta(6, 5)
    run(save(tmp_path / "src", [steps]), tmp_path / "out.mct", knots=(1, 2, 3), smooth=True)
    whole = flat(steps).astype(np.float64)
    means = [(whole[t - 1] + whole[t + 1]) / 2 for t in (1, 2, 3)]
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        for k, mean in enumerate(means, 1):
            assert np.array_equal(bundle[0].knot(k), mean.astype(np.float32))


def test_gram_matrix_is_that_of_the_path(tmp_path: Path) -> None:
    """The Gram matrix equals the inner products of theta(t) - theta(0) in float64; it is kept on demand."""
    steps = theta(7)
    run(save(tmp_path / "src", [steps]), tmp_path / "plain.mct")
    run(tmp_path / "src", tmp_path / "out.mct", gram=True)
    with trajfmt.open(tmp_path / "plain.mct") as bundle:
        assert bundle[0].gram is None
    moved = flat(steps).astype(np.float64) - flat(steps)[0].astype(np.float64)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert np.allclose(bundle[0].gram, moved @ moved.T, rtol=1e-10, atol=1e-10)


def test_long_trajectory_has_no_gram_matrix_and_exact_betas(tmp_path: Path) -> None:
    """Beyond 256 steps the Gram matrix is left out and everything else stays."""
    steps = theta(8, 300, ((3,), (2,)))
    run(save(tmp_path / "src", [steps]), tmp_path / "out.mct", gram=True)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert bundle[0].gram is None
        assert np.abs(bundle[0].u - beta(steps, [[0], [1]], [0, 299])).max() <= 1e-12


# --- cutting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knots", [(7,), (3, 99)])
def test_knots_outside_a_trajectory_are_refused(tmp_path: Path, knots: tuple[int, ...]) -> None:
    """A knot at or after T is refused, saying where T is."""
    with pytest.raises(SourceError, match="T = 7"):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct", ConvertOptions(knots=knots))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["src"]


# --- between the encodings --------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_full_and_back_is_bit_identical(tmp_path: Path, codec: Any) -> None:
    """.pt -> .mtt -> .pt gives every bit back, in lists of tensors that share no storage."""
    from trajfmt.export.run import export

    experts = [theta(seed, 5 + seed) for seed in range(3)]
    experts[0][2][0][0, 0] = np.float32(-0.0)
    experts[0][3][0][0, 1] = np.float32(1e-45)
    run(save(tmp_path / "src", experts), tmp_path / "out.mtt", codec=codec)
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        assert export(bundle, tmp_path / "back", per_file=2) == 3
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == [
        "replay_buffer_0.pt",
        "replay_buffer_1.pt",
    ]
    found = [steps for n in range(2) for steps in torch.load(tmp_path / "back" / f"replay_buffer_{n}.pt")]
    assert type(found[0]) is list
    assert type(found[0][0]) is list
    for steps, expected in zip(found, experts, strict=True):
        assert len(steps) == len(expected)
        for step, wanted in zip(steps, expected, strict=True):
            assert [tuple(x.shape) for x in step] == [x.shape for x in wanted]
            assert all(x.numpy().tobytes() == y.tobytes() for x, y in zip(step, wanted, strict=True))
            assert not any(x.requires_grad for x in step)
    places = [x.untyped_storage().data_ptr() for steps in found for step in steps for x in step]
    assert len(set(places)) == len(places)
    assert all(x.untyped_storage().nbytes() == 4 * x.numel() for s in found for step in s for x in step)


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two conversions agree in every byte, manifest included, for every encoding and codec."""
    source = save(tmp_path / "src", [theta(seed) for seed in range(7)])
    for suffix, codec in ((".mct", "none"), (".mtt", "none"), (".mtt", "zstd"), (".mtt", "archive")):
        for name in ("a", "b"):
            run(source, tmp_path / f"{name}-{codec}{suffix}", codec=codec)
        first, second = (files(tmp_path / f"{name}-{codec}{suffix}") for name in ("a", "b"))
        assert first == second


# --- storage and memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("knots", "limit"), [((), 0.041), ((6, 25), 0.080)], ids=["two", "four"])
def test_storage_against_the_source(
    paper: Path, tmp_path: Path, knots: tuple[int, ...], limit: float
) -> None:
    """At 51 timesteps two endpoints take at most 4.1% of the .pt, four knots at most 8.0%."""
    convert(paper, tmp_path / "out.mct", ConvertOptions(knots=knots))
    assert size(tmp_path / "out.mct") <= limit * (paper / "replay_buffer_0.pt").stat().st_size


MEASURE = """
import gc, json, sys, threading
import numpy as np, torch
import trajfmt.sources.mtt_family.mtt
from pathlib import Path
from trajfmt.convert.options import ConvertOptions; from trajfmt.convert.run import convert

def anonymous():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024

folder = Path(sys.argv[1])
def once(source, name, codec="none"):
    gc.collect()
    base, peak, stop = anonymous(), 0, threading.Event()
    def watch():
        nonlocal peak
        while not stop.wait(0.001):
            peak = max(peak, anonymous())
    thread = threading.Thread(target=watch); thread.start()
    convert(folder / source, folder / name, ConvertOptions(codec=codec))
    peak = max(peak, anonymous()); stop.set(); thread.join()
    return peak - base

once("warm", "warm.mct"); once("warm", "warm.mtt", "archive"); once("warm.mtt", "warm2.mct")
found = {}
for T in (20, 200):
    for codec in ("none", "zstd", "archive"):
        found[f"{codec} {T}"] = once(f"src{T}", f"{codec}{T}.mtt", codec)
    found[f"mct {T}"] = once(f"src{T}", f"{T}.mct")
    found[f"detour {T}"] = once(f"zstd{T}.mtt", f"detour{T}.mct")
print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_timesteps(tmp_path: Path) -> None:
    """Anonymous memory of a conversion is the same for 20 and 200 timesteps, for every encoding and codec."""
    shapes = ((300, 200), (300,), (100, 300), (100,))
    for timesteps, name in ((5, "warm"), (20, "src20"), (200, "src200")):
        generator = torch.Generator().manual_seed(timesteps)
        content = [
            [[torch.randn(s, generator=generator) for s in shapes] for _ in range(timesteps)]
            for _ in range(2)
        ]
        (tmp_path / name).mkdir()
        torch.save(content, tmp_path / name / "replay_buffer_0.pt")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for way in ("none", "zstd", "archive", "mct", "detour"):
        assert found[f"{way} 200"] - found[f"{way} 20"] <= 8 * 2**20, found


def test_every_weight_is_read_once(tmp_path: Path) -> None:
    """Each tensor of each timestep is asked for exactly once over a whole conversion."""
    from trajfmt.sources.torchfile.zipped import ZippedTrajectory

    source = save(tmp_path / "src", [theta(0), theta(1)], 0)
    save(source, [theta(2)], 1)
    asked: list[tuple[int, int, int]] = []
    original = ZippedTrajectory.read

    def counted(self: Any, t: int, parameter: int) -> Any:
        asked.append((id(self), t, parameter))
        return original(self, t, parameter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ZippedTrajectory, "read", counted)
        convert(source, tmp_path / "out.mct")
    assert len(asked) == 3 * 8 * 4
