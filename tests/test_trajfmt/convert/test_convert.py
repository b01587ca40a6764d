"""Conversion: exact ends, eq. 9, options, append, plans, provenance, storage and memory."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.bundle.validation import validate
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, ExistsError, MissingError, SourceError, TrajfmtError, UsageError

torch = pytest.importorskip("torch")

SHAPES = ((4, 3), (4,), (2, 2), (2,))
PAPER = (
    *((128, 3, 3, 3), (128,), (128,), (128,)),
    *((128, 128, 3, 3), (128,), (128,), (128,)) * 2,
    *((10, 2048), (10,)),
)
"""The paper's ConvNet: 320,010 parameters."""

SMALL = ((4, 3, 3, 3), (4,), (4,), (4,), (10, 4 * 16 * 16), (10,))
"""A ConvNet of depth 1 and width 4 for 32 x 32 images."""


def theta(seed: int, timesteps: int = 8, shapes: Any = SHAPES) -> list[list[np.ndarray]]:
    """Return one trajectory as a random walk, so that the path is longer than the way."""
    generator = np.random.default_rng(seed)
    now = [np.asarray(generator.standard_normal(shape), np.float32) for shape in shapes]
    steps = [now]
    for _ in range(timesteps - 1):
        now = [x + np.float32(0.1) * generator.standard_normal(x.shape).astype(np.float32) for x in now]
        steps.append(now)
    return steps


def flat(steps: list[list[np.ndarray]]) -> np.ndarray:
    """Return the weights `(T+1, P)`."""
    return np.stack([np.concatenate([x.reshape(-1) for x in step]) for step in steps])


def save(folder: Path, trajectories: list[list[list[np.ndarray]]], number: int = 0) -> Path:
    """Save a file of a buffer; every tensor has its own storage."""
    folder.mkdir(parents=True, exist_ok=True)
    content = [[[torch.from_numpy(x.copy()) for x in step] for step in steps] for steps in trajectories]
    torch.save(content, folder / f"replay_buffer_{number}.pt")
    return folder


def beta(steps: list[list[np.ndarray]], groups: list[list[int]], knots: list[int]) -> np.ndarray:
    """Return u(t) by eq. 9 as the paper writes it: loops, float64, one layer at a time."""
    u = np.zeros((len(steps), len(groups)))
    for column, members in enumerate(groups):
        rows = [np.concatenate([step[i].reshape(-1) for i in members]).astype(np.float64) for step in steps]
        norms = [float(np.sqrt(((b - a) ** 2).sum())) for a, b in itertools.pairwise(rows)]
        for s, (a, b) in enumerate(itertools.pairwise(knots)):
            length = sum(norms[a:b])
            for t in range(a, b + 1):
                passed = sum(norms[a:t]) / length if length else (t - a) / (b - a)
                u[t, column] = s + passed
    return u


def files(bundle: Path) -> dict[str, bytes]:
    """Return every file of a bundle by its path."""
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}


def run(source: Path, destination: Path, **options: Any) -> list[Event]:
    """Convert, require a sound bundle, and return the events."""
    events: list[Event] = []
    convert(source, destination, ConvertOptions(**options), on_event=events.append)
    assert validate(destination) == []
    return events


def notices(events: list[Event]) -> str:
    """Return everything that was remarked on."""
    return "\n".join(event.message for event in events if event.kind == "notice")


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


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
@pytest.mark.parametrize("window", [(0, 4), (2, 6), (3, None), (None, 5)])
def test_window_is_half_open_and_its_start_recorded(tmp_path: Path, suffix: str, window: Any) -> None:
    """A:B keeps timesteps A to B-1; the manifest says what t = 0 was."""
    steps = theta(9)
    run(save(tmp_path / "src", [steps]), tmp_path / f"out{suffix}", timesteps=window)
    kept = flat(steps)[slice(*window)]
    with trajfmt.open(tmp_path / f"out{suffix}") as bundle:
        item = bundle[0]
        assert item.timesteps == len(kept)
        assert np.array_equal(item.at(0), kept[0])
        assert np.array_equal(item.at(item.last), kept[-1])
        assert bundle.manifest.provenance.first_timestep == (window[0] or 0)


def test_window_of_a_window_counts_from_the_source(tmp_path: Path) -> None:
    """Cutting a bundle that was cut before adds the starts."""
    run(save(tmp_path / "src", [theta(9)]), tmp_path / "a.mtt", timesteps=(2, 8))
    run(tmp_path / "a.mtt", tmp_path / "b.mct", timesteps=(1, 4))
    run(save(tmp_path / "src", [theta(9)]), tmp_path / "c.mct", timesteps=(3, 6))
    with trajfmt.open(tmp_path / "b.mct") as b, trajfmt.open(tmp_path / "c.mct") as c:
        assert b.manifest.provenance.first_timestep == 3
        assert np.array_equal(b[0].u, c[0].u)
        assert np.array_equal(b[0].knot(0), c[0].knot(0))


def test_knots_count_within_the_window(tmp_path: Path) -> None:
    """Inserted knots are timesteps of the bundle, not of the source."""
    steps = theta(9)
    run(save(tmp_path / "src", [steps]), tmp_path / "out.mct", timesteps=(2, 8), knots=(1,))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert np.array_equal(bundle[0].knot(1), flat(steps)[3])


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


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
@pytest.mark.parametrize("knots", [(), (3,)])
def test_detour_over_full_equals_the_direct_way(tmp_path: Path, codec: Any, knots: tuple[int, ...]) -> None:
    """.pt -> .mtt -> .mct has the files of .pt -> .mct, byte for byte."""
    source = save(tmp_path / "src", [theta(1), theta(2, 6)])
    run(source, tmp_path / "direct.mct", knots=knots)
    run(source, tmp_path / "full.mtt", codec=codec)
    run(tmp_path / "full.mtt", tmp_path / "detour.mct", knots=knots)
    direct, detour = files(tmp_path / "direct.mct"), files(tmp_path / "detour.mct")
    del direct["manifest.json"], detour["manifest.json"]
    assert direct == detour


def test_full_recoded_and_back_is_the_same_bundle(tmp_path: Path) -> None:
    """none -> archive -> zstd -> none loses no bit."""
    run(save(tmp_path / "src", [theta(1), theta(2, 19)]), tmp_path / "a.mtt")
    run(tmp_path / "a.mtt", tmp_path / "b.mtt", codec="archive")
    run(tmp_path / "b.mtt", tmp_path / "c.mtt", codec="zstd")
    run(tmp_path / "c.mtt", tmp_path / "d.mtt")
    first, last = files(tmp_path / "a.mtt"), files(tmp_path / "d.mtt")
    del first["manifest.json"], last["manifest.json"]
    assert first == last


def test_convex_to_full_is_the_discretised_line(tmp_path: Path) -> None:
    """.mct -> .mtt holds the line at whole timesteps, and export writes the same."""
    from trajfmt.export.run import export

    run(save(tmp_path / "src", [theta(1), theta(2, 5)]), tmp_path / "a.mct")
    run(tmp_path / "a.mct", tmp_path / "b.mtt")
    with trajfmt.open(tmp_path / "a.mct") as convex, trajfmt.open(tmp_path / "b.mtt") as full:
        export(convex, tmp_path / "back")
        found = torch.load(tmp_path / "back" / "replay_buffer_0.pt")
        for line, item, steps in zip(convex, full, found, strict=True):
            for t in range(line.timesteps):
                assert np.array_equal(line.at(t), item.at(t))
                assert np.array_equal(line.at(t), torch.cat([x.reshape(-1) for x in steps[t]]).numpy())


def test_convex_to_convex_is_refused(tmp_path: Path) -> None:
    """The waypoints are gone: a second convexification is refused."""
    run(save(tmp_path / "src", [theta(1)]), tmp_path / "a.mct")
    with pytest.raises(UsageError, match="convexified already"):
        convert(tmp_path / "a.mct", tmp_path / "b.mct")
    assert not (tmp_path / "b.mct").exists()


def test_damaged_bundle_as_source_is_refused(tmp_path: Path) -> None:
    """A flipped byte in a .mtt that is converted is found by its hash; nothing is published."""
    run(save(tmp_path / "src", [theta(1), theta(2)]), tmp_path / "a.mtt")
    victim = tmp_path / "a.mtt" / "theta" / "00001.h5"
    data = bytearray(victim.read_bytes())
    data[-5] ^= 1
    victim.write_bytes(data)
    with pytest.raises(CorruptError) as caught:
        convert(tmp_path / "a.mtt", tmp_path / "b.mct")
    assert caught.value.reason == "hash_mismatch"
    assert not (tmp_path / "b.mct").exists()


def test_repaired_bundle_is_converted_afresh(tmp_path: Path) -> None:
    """After a hash mismatch and a repair of the file, the rerun holds the repaired weights."""
    run(save(tmp_path / "src", [theta(1), theta(2)]), tmp_path / "a.mtt")
    victim = tmp_path / "a.mtt" / "theta" / "00001.h5"
    sound = victim.read_bytes()
    victim.write_bytes(sound[:-2] + bytes([sound[-2] ^ 1, sound[-1]]))
    with pytest.raises(CorruptError):
        convert(tmp_path / "a.mtt", tmp_path / "b.mct")
    victim.write_bytes(sound)
    run(tmp_path / "a.mtt", tmp_path / "b.mct")
    with trajfmt.open(tmp_path / "b.mct") as bundle:
        assert np.array_equal(bundle[1].knot(1), flat(theta(2))[-1])


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two conversions agree in every byte, manifest included, for every encoding and codec."""
    source = save(tmp_path / "src", [theta(seed) for seed in range(7)])
    for suffix, codec in ((".mct", "none"), (".mtt", "none"), (".mtt", "zstd"), (".mtt", "archive")):
        for name in ("a", "b"):
            run(source, tmp_path / f"{name}-{codec}{suffix}", codec=codec)
        first, second = (files(tmp_path / f"{name}-{codec}{suffix}") for name in ("a", "b"))
        assert first == second


# --- destinations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "folder", "bundle", "dangling link"])
def test_existing_destination_is_refused_and_untouched(tmp_path: Path, kind: str) -> None:
    """Whatever lies at the destination stays what it is."""
    source, target = save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct"
    if kind == "file":
        target.write_bytes(b"precious")
    elif kind == "folder":
        target.mkdir()
        (target / "precious").write_bytes(b"x")
    elif kind == "bundle":
        run(save(tmp_path / "other", [theta(5)]), target)
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = files(target) if target.is_dir() else target.read_bytes() if target.exists() else None
    with pytest.raises(ExistsError):
        convert(source, target)
    after = files(target) if target.is_dir() else target.read_bytes() if target.exists() else None
    assert before == after
    assert target.is_symlink() == (kind == "dangling link")
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / ".out.mct.partial").exists()


@pytest.mark.parametrize("name", ["out", "out.zip", "out.mct.zip", ".mct", "out.MCT"])
def test_destination_with_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    """The suffix alone says the encoding; it is never guessed."""
    with pytest.raises(UsageError, match=r"\.mct"):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_missing_parent_is_refused(tmp_path: Path) -> None:
    """Folders are not created for a mistyped path."""
    with pytest.raises(UsageError, match="no such folder"):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / "no" / "out.mct")
    assert not (tmp_path / "no").exists()


def test_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A file in place of the parent folder is a usage error."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / "file" / "out.mct")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_parent_is_refused(tmp_path: Path) -> None:
    """A read-only parent folder gives one error and no trace."""
    source = save(tmp_path / "src", [theta(0)])
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OSError, match="ermission"):
        convert(source, tmp_path / "locked" / "out.mct")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mct", {"codec": "zstd"}),
        (".mct", {"smooth": True}),
        (".mtt", {"knots": (3,)}),
        (".mtt", {"smooth": True}),
        (".mct", {"model": "ConvNet"}),
        (".mct", {"layers": "tensors"}),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    """Options of the other encoding, or of a network that this is not, are usage errors."""
    with pytest.raises(UsageError):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / f"out{suffix}", ConvertOptions(**options))
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("dataset", ["", "x" * 2000])
def test_impossible_dataset_name_is_a_usage_error(tmp_path: Path, dataset: str) -> None:
    """A name that the manifest cannot hold is refused before anything is read."""
    with pytest.raises(UsageError):
        convert(save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct", ConvertOptions(dataset=dataset))


def test_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    """A file that is written to while it is read gives no bundle."""
    source = save(tmp_path / "src", [theta(0), theta(1)])
    path = source / "replay_buffer_0.pt"

    def touch(event: Event) -> None:
        if event.kind == "trajectory":
            os.utime(path, ns=(1, 1))

    with pytest.raises(SourceError) as caught:
        convert(source, tmp_path / "out.mct", on_event=touch)
    assert caught.value.reason == "source_changed"
    assert not (tmp_path / "out.mct").exists()


def test_sources_are_recorded_with_their_hashes(tmp_path: Path) -> None:
    """Provenance lists every file with size and sha256, and each trajectory's place in them."""
    source = save(tmp_path / "src", [theta(0), theta(1)], 0)
    save(source, [theta(2)], 1)
    run(source, tmp_path / "out.mct")
    manifest = trajfmt.open(tmp_path / "out.mct").manifest
    for entry, path in zip(manifest.provenance.sources, sorted(source.iterdir()), strict=True):
        data = path.read_bytes()
        assert (entry.name, entry.bytes) == (path.name, len(data))
        assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert [(e.origin.file, e.origin.trajectory) for e in manifest.trajectories] == [(0, 0), (0, 1), (1, 0)]


# --- append -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "codec"), [(".mct", "none"), (".mtt", "none"), (".mtt", "archive")])
def test_appended_trajectories_follow_the_old_ones(tmp_path: Path, suffix: str, codec: Any) -> None:
    """Append adds files, changes none, and numbers origins after the old sources."""
    target = tmp_path / f"out{suffix}"
    run(save(tmp_path / "a", [theta(0), theta(1)]), target, codec=codec)
    before = files(target)
    run(save(tmp_path / "b", [theta(2, 5)]), target, append=True)
    after = files(target)
    assert all(after[name] == data for name, data in before.items() if name != "manifest.json")
    with trajfmt.open(target) as bundle:
        assert len(bundle) == 3
        for seed, item in enumerate(bundle):
            steps = flat(theta(seed, item.timesteps))
            assert np.array_equal(item.at(0), steps[0])
            assert np.array_equal(item.at(item.last), steps[-1])
        assert bundle.manifest.trajectories[2].origin.file == 1
        assert len(bundle.manifest.provenance.sources) == 2
    assert not (tmp_path / f".out{suffix}.partial").exists()


def test_appending_a_duplicate_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """A trajectory that the bundle holds is refused, and every byte stays."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "a", [theta(0), theta(1)]), target)
    before = files(target)
    with pytest.raises(SourceError) as caught:
        convert(save(tmp_path / "b", [theta(1)]), target, ConvertOptions(append=True))
    assert caught.value.reason == "duplicate_trajectory"
    assert "number 1" in str(caught.value)
    assert files(target) == before


def test_appending_another_network_is_refused(tmp_path: Path) -> None:
    """Other shapes do not go into a bundle."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "a", [theta(0)]), target)
    before = files(target)
    with pytest.raises(UsageError):
        convert(save(tmp_path / "b", [theta(1, shapes=((3,),))]), target, ConvertOptions(append=True))
    assert files(target) == before
    assert not (tmp_path / ".out.mct.partial").exists()


def test_appending_to_nothing_is_refused(tmp_path: Path) -> None:
    """Append needs a bundle; it does not start one."""
    with pytest.raises(MissingError):
        convert(save(tmp_path / "a", [theta(0)]), tmp_path / "out.mct", ConvertOptions(append=True))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_appending_uses_the_knots_of_the_bundle(tmp_path: Path) -> None:
    """A bundle with inserted knots and smoothing gets more of the same."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "a", [theta(0)]), target, knots=(3,), smooth=True, layers="module")
    run(save(tmp_path / "b", [theta(1)]), target, append=True)
    run(
        save(tmp_path / "c", [theta(0), theta(1)]),
        tmp_path / "once.mct",
        knots=(3,),
        smooth=True,
        layers="module",
    )
    with trajfmt.open(target) as bundle, trajfmt.open(tmp_path / "once.mct") as once:
        assert np.array_equal(bundle[1].u, once[1].u)
        assert np.array_equal(bundle[1].knot(1), once[1].knot(1))


@pytest.mark.parametrize(
    "options", [{"knots": (3,)}, {"layers": "all"}, {"timesteps": (2, 8)}], ids=["knots", "layers", "window"]
)
def test_appending_with_other_options_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    """What the bundle cannot take is refused, not dropped."""
    run(save(tmp_path / "a", [theta(0)]), tmp_path / "out.mct")
    with pytest.raises(UsageError):
        convert(
            save(tmp_path / "b", [theta(1)]), tmp_path / "out.mct", ConvertOptions(append=True, **options)
        )


def test_appending_other_data_is_refused(tmp_path: Path) -> None:
    """Experts of another data set or preprocessing do not pass as the bundle's own."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "CIFAR10" / "ConvNet", [theta(0, shapes=SMALL)]), target)
    with pytest.raises(TrajfmtError):
        convert(
            save(tmp_path / "CIFAR10_NO_ZCA" / "ConvNet", [theta(1, shapes=SMALL)]),
            target,
            ConvertOptions(append=True),
        )


# --- plans ------------------------------------------------------------------------------------------------


def size(bundle: Path) -> int:
    """Return the bytes of a bundle."""
    return sum(len(data) for data in files(bundle).values())


def test_plan_estimates_the_size_within_two_percent(paper: Path, tmp_path: Path) -> None:
    """For the paper's network and 51 timesteps the estimate is within 2% of the real size."""
    for name, options in (("a.mct", {}), ("b.mct", {"knots": (6, 25)}), ("c.mtt", {})):
        before = sorted(tmp_path.iterdir())
        found = plan(paper, tmp_path / name, ConvertOptions(**options))
        assert sorted(tmp_path.iterdir()) == before
        convert(paper, tmp_path / name, ConvertOptions(**options))
        assert found.trajectories == 1
        assert found.timesteps == (51,)
        assert abs(found.bytes - size(tmp_path / name)) <= 0.02 * size(tmp_path / name)
        assert found.source_bytes == (paper / "replay_buffer_0.pt").stat().st_size


def test_plan_reports_what_would_be_left_out(tmp_path: Path) -> None:
    """A plan counts what converts and lists what does not."""
    source = save(tmp_path / "src", [theta(0), theta(1, 1), theta(2)], 3)
    found = plan(source, tmp_path / "out.mct", ConvertOptions(keep_going=True))
    assert found.trajectories == 2
    assert len(found.skipped) == 1
    assert "trajectory 1" in found.skipped[0]
    assert any("start at 0" in text for text in found.notices)
    with pytest.raises(SourceError):
        plan(source, tmp_path / "out.mct")
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("case", ["knots beyond T", "destination exists", "smooth without knots"])
def test_plan_refuses_what_the_conversion_refuses(tmp_path: Path, case: str) -> None:
    """A dry run that succeeds is a promise."""
    source, target = save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct"
    options = ConvertOptions(knots=(99,)) if case == "knots beyond T" else ConvertOptions()
    if case == "destination exists":
        target.mkdir()
    if case == "smooth without knots":
        options = ConvertOptions(smooth=True)
    with pytest.raises(TrajfmtError):
        plan(source, target, options)


# --- provenance -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "dataset", "preprocessing", "norm"),
    [
        ("CIFAR10/ConvNet", "CIFAR10", "zca", "instance"),
        ("CIFAR10_NO_ZCA/ConvNet", "CIFAR10", "normalize", "instance"),
        ("CIFAR100/ConvNetBN", "CIFAR100", "zca", "batch"),
        ("Tiny/ConvNet", "Tiny", None, "instance"),
        ("buffers/whatever", None, None, None),
    ],
)
def test_path_tells_what_it_can(
    tmp_path: Path, path: str, dataset: str | None, preprocessing: str | None, norm: str | None
) -> None:
    """MTT's folder names give data set, whitening and norm; other paths give nothing, and that is told."""
    events = run(save(tmp_path / path, [theta(0, shapes=SMALL)]), tmp_path / "out.mct")
    provenance = trajfmt.open(tmp_path / "out.mct").manifest.provenance
    assert provenance.dataset == dataset
    assert (provenance.preprocessing.kind if provenance.preprocessing else None) == preprocessing
    assert provenance.model.norm == norm
    assert (provenance.model.depth, provenance.model.width, provenance.model.classes) == (1, 4, 10)
    for word, known in (("data set", dataset), ("preprocessing", preprocessing), ("norm", norm)):
        assert (f"the {word} is unknown" in notices(events)) == (known is None)


def test_name_of_the_folder_that_contradicts_the_shapes_is_not_believed(tmp_path: Path) -> None:
    """ConvNetD4 on the shapes of depth 1: told, and the shapes win."""
    events = run(save(tmp_path / "Tiny" / "ConvNetD4", [theta(0, shapes=SMALL)]), tmp_path / "out.mct")
    assert "not believed" in notices(events)
    model = trajfmt.open(tmp_path / "out.mct").manifest.provenance.model
    assert (model.depth, model.norm) == (1, None)


def test_flags_win_over_the_path_and_are_recorded_as_such(tmp_path: Path) -> None:
    """What a user says replaces what the path says."""
    run(
        save(tmp_path / "CIFAR10" / "ConvNet", [theta(0, shapes=SMALL)]),
        tmp_path / "out.mct",
        dataset="SVHN",
        model="ConvNetD1W4GN",
        preprocessing=trajfmt.Preprocessing(kind="normalize"),
    )
    provenance = trajfmt.open(tmp_path / "out.mct").manifest.provenance
    assert (provenance.dataset, provenance.model.norm) == ("SVHN", "group")
    flags = {"dataset": "flag", "model": "flag", "preprocessing": "flag"}
    assert provenance.known_from == {**flags, "timestep": "layout"}


@pytest.mark.parametrize(
    "model",
    [
        *("ConvNetD2", "ConvNetW8", "ResNet18", ""),
        pytest.param("ConvNetNN"),
        pytest.param("ConvNetLN"),
    ],
)
def test_model_flag_that_contradicts_the_shapes_is_refused(tmp_path: Path, model: str) -> None:
    """A flag cannot make the shapes another network's."""
    with pytest.raises(UsageError):
        convert(
            save(tmp_path / "src", [theta(0, shapes=SMALL)]),
            tmp_path / "out.mct",
            ConvertOptions(model=model),
        )


def test_path_through_the_parent_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`../ConvNet` from a neighbouring folder is CIFAR10/ConvNet, not the data set `..`."""
    save(tmp_path / "CIFAR10" / "ConvNet", [theta(0, shapes=SMALL)])
    (tmp_path / "CIFAR10" / "other").mkdir()
    monkeypatch.chdir(tmp_path / "CIFAR10" / "other")
    run(Path("../ConvNet"), tmp_path / "out.mct")
    assert trajfmt.open(tmp_path / "out.mct").manifest.provenance.dataset == "CIFAR10"


def test_unknown_network_gets_numbered_parameters(tmp_path: Path) -> None:
    """Shapes of no known family: numbered names in the order of the file, and a word about it."""
    events = run(save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct")
    assert "numbered" in notices(events)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert [p.name for p in bundle.layout.parameters] == [f"param.{n:03d}" for n in range(4)]
        assert bundle.manifest.provenance.model is None


# --- storage and memory -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one trajectory of 51 timesteps of the paper's network, of random floats."""
    folder = tmp_path_factory.mktemp("paper") / "src"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    content = [[torch.randn(shape, generator=generator) for shape in PAPER] for _ in range(51)]
    assert sum(x.numel() for x in content[0]) == 320_010
    torch.save([content], folder / "replay_buffer_0.pt")
    return folder


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
