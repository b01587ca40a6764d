"""`traj inspect`, `extract` and `validate` on bundles; all of it works without torch."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import trajfmt
from tests.helpers.sealing import sealed

SUMMARY_KEYS = {
    *("schema", "path", "kind", "encoding", "version", "generator", "trajectories", "timesteps", "knots"),
    *("smoothed", "codec", "parameters", "tensors", "layers", "dtype", "provenance", "files", "integrity"),
    *("sha256", "storage", "shards", "free", "unknown_steps", "buffers", "numbers", "refused", "newer"),
    "numbering",
}
STORAGE_KEYS = {"total", "parts", "buffer", "source", "ratio", "eq11", "eq12"}
LAYER_KEYS = {
    *("trajectory", "name", "shapes", "elements", "share", "path_length", "displacement", "beta"),
}


# --- inspect ----------------------------------------------------------------------------------------------


def test_inspect_reports_the_bytes_on_disk(traj: Any, bundle: Any) -> None:
    """Totals and parts are those of the disk; eqs. 11 and 12 are computed from K, W and L."""
    path = bundle(knots=(2,))
    found = json.loads(traj("inspect", path, "--json").out)
    assert set(found) == SUMMARY_KEYS
    storage = found["storage"]
    assert set(storage) == STORAGE_KEYS
    real = {p.relative_to(path).as_posix(): p.stat().st_size for p in path.rglob("*") if p.is_file()}
    assert storage["total"] == sum(real.values()) == sum(storage["parts"].values())
    assert storage["parts"]["knots"] == sum(n for name, n in real.items() if name.startswith("knots/"))
    assert storage["parts"]["manifest"] == real["manifest.json"]
    assert found["files"] == len(real)
    weights = 4 * 10_370
    assert storage["eq11"] == storage["buffer"] == 2 * 6 * weights
    assert storage["eq12"] == 2 * (3 * weights + 6 * 6 * 8)
    assert storage["ratio"] == storage["total"] / storage["buffer"]
    assert (found["schema"], found["encoding"], found["knots"]) == ("trajfmt.inspect/1", "convex", [0, 2, 5])
    assert (found["trajectories"], found["timesteps"], found["layers"]) == (2, [6, 6], 6)


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_inspect_of_a_full_bundle(traj: Any, bundle: Any, codec: str) -> None:
    """A .mtt tells its codec and has no eq. 12."""
    path = bundle("out.mtt", codec=codec)
    found = json.loads(traj("inspect", path, "--json").out)
    assert (found["encoding"], found["codec"], found["knots"]) == ("full", codec, None)
    assert found["storage"]["eq12"] is None
    assert codec in traj("inspect", path).out


def test_inspect_reads_the_manifest_alone(traj: Any, bundle: Any) -> None:
    """With every other file gone the summary is the same."""
    path = bundle()
    before = traj("inspect", path, "--json").out
    for file in [p for p in path.rglob("*") if p.is_file() and p.name != "manifest.json"]:
        file.unlink()
    assert traj("inspect", path, "--json").out == before


def test_inspect_of_several_is_one_line_each(traj: Any, bundle: Any) -> None:
    """JSON is one object a line, in the order of the arguments."""
    paths = [bundle("a.mct"), bundle("b.mtt")]
    lines = traj("inspect", *paths, "--json").out.splitlines()
    assert [json.loads(line)["path"] for line in lines] == [str(path) for path in paths]


def test_inspect_for_people_has_the_facts(traj: Any, bundle: Any) -> None:
    """The table holds what the issue asks for."""
    out = traj("inspect", bundle()).out
    for word in ("convex", "format 1.0", "2 of 6", "0, 5", "10,370", "CIFAR10", "eq. 11", "eq. 12", "ratio"):
        assert word in out
    assert "unknown" in out  # the model


@pytest.mark.parametrize("name", ["out.mct", "out.mtt"])
def test_layers_are_measured(traj: Any, bundle: Any, weights: Any, name: str) -> None:
    """Share, path length, displacement and beta of every layer equal an independent float64 computation."""
    path = bundle(name)
    lines = [
        json.loads(line)
        for line in traj("inspect", path, "--layers", "--trajectory", "1", "--json").out.splitlines()
    ]
    steps = weights()[1]
    assert len(lines) == 6
    for index, line in enumerate(lines):
        assert set(line) == LAYER_KEYS
        rows = [step[index].astype(np.float64).reshape(-1) for step in steps]
        norms = [np.linalg.norm(b - a) for a, b in itertools.pairwise(rows)]
        assert line["trajectory"] == 1
        assert line["elements"] == rows[0].size
        assert line["share"] == pytest.approx(rows[0].size / 10_370)
        assert line["path_length"] == pytest.approx(sum(norms))
        assert line["displacement"] == pytest.approx(np.linalg.norm(rows[-1] - rows[0]))
        assert line["beta"] == pytest.approx(np.cumsum([0, *norms]) / sum(norms))


def test_layers_for_people(traj: Any, bundle: Any) -> None:
    """The table of layers has names, shapes and a sparkline that ends high."""
    out = traj("inspect", bundle(), "--layers").out
    assert "features.0.w" in out
    assert "4×3×3×3" in out
    assert "▁" in out
    assert "█" in out


@pytest.mark.parametrize("number", ["2", "99999999999999999999"])
@pytest.mark.parametrize("command", ["inspect", "extract"])
def test_trajectory_out_of_range_exits_2(
    traj: Any, tmp_path: Path, bundle: Any, command: str, number: str
) -> None:
    """A number that the bundle does not have is wrong usage, and the range is told."""
    extra = ("--t", 1, "-o", tmp_path / "x.safetensors") if command == "extract" else ()
    done = traj(command, bundle(), "--trajectory", number, *extra)
    assert done.code == 2
    assert "[0, 1]" in done.error


HOSTILE = "\x1b[31mred\x07\r\n\x9b31m\u202e[bold]x[/bold]"


@pytest.mark.parametrize("command", ["inspect", "inspect --layers", "validate", "inspect --json"])
def test_names_with_control_characters_are_escaped(traj: Any, bundle: Any, command: str) -> None:
    """Escape codes, bells and direction marks of a stranger's manifest do not reach the terminal."""
    path = bundle(dataset=HOSTILE, parameter=HOSTILE)
    done = traj(*command.split(), path)
    assert done.code == 0
    for mark in ("\x1b", "\x07", "\r"):
        assert mark not in done.out + done.err
    if "json" in command:
        assert json.loads(done.out)["provenance"]["dataset"] == HOSTILE
    else:
        assert "\u202e" not in done.out
        assert "\x9b" not in done.out
    if command == "inspect":
        assert "\\x1b[31mred" in done.out
        assert "[bold]x[/bold]" in done.out


@pytest.mark.parametrize("command", ["validate", "inspect --layers", "extract"])
def test_names_in_error_messages_are_escaped(traj: Any, tmp_path: Path, bundle: Any, command: str) -> None:
    """Errors that quote a name of the file escape it too."""
    path = bundle(dataset=HOSTILE, parameter=HOSTILE)
    victim = path / "knots" / "00000.safetensors"
    data = bytearray(victim.read_bytes())
    data[-4 * 10_370 - 4 : -4 * 10_370] = np.float32(np.nan).tobytes()
    data[-4:] = np.float32(np.nan).tobytes()
    data[10:12] = b"\x1b["
    victim.write_bytes(data)
    extra = ("--t", 1, "-o", tmp_path / "x.safetensors") if command == "extract" else ()
    done = traj(*command.split(), path, *extra)
    assert done.code == 4
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.out + done.err


@pytest.mark.parametrize("command", ["inspect", "validate"])
def test_json_of_a_path_that_is_not_utf8(traj: Any, tmp_path: Path, bundle: Any, command: str) -> None:
    """A bundle in a folder of another encoding can be inspected as JSON."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mct"))
    os.rename(bundle(), path)
    assert traj(command, path, "--json").code == 0


# --- extract ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knots", [(), (2, 4)])
def test_extract_follows_equations_8_to_10(
    traj: Any, tmp_path: Path, bundle: Any, weights: Any, knots: tuple[int, ...]
) -> None:
    """At 100 random t, and 0, T and every knot, the checkpoint equals the paper's line to 1e-6."""
    path = bundle(knots=knots)
    steps, stored = weights()[1], [0, *knots, 5]
    times = [0.0, 5.0, *map(float, knots), *np.random.default_rng(0).uniform(0, 5, 100)]
    with trajfmt.open(path) as opened:
        names = [parameter.name for parameter in opened.layout.parameters]
    for number, t in enumerate(times):
        output = tmp_path / f"{number}.safetensors"
        assert traj("extract", path, "--trajectory", 1, "--t", repr(float(t)), "-o", output).code == 0
        found = load_file(output)
        assert list(found) == sorted(names)
        for index, name in enumerate(names):
            rows = [step[index].astype(np.float64) for step in steps]
            norms = [float(np.sqrt(((b - a) ** 2).sum())) for a, b in itertools.pairwise(rows)]
            u = [0.0]
            for s, (a, b) in enumerate(itertools.pairwise(stored)):
                u += [s + sum(norms[a : t + 1]) / sum(norms[a:b]) for t in range(a, b)]
            low = min(int(t), 4)
            position = (1 - (t - low)) * u[low] + (t - low) * u[low + 1]
            s = min(int(position), len(stored) - 2)
            line = (1 - (position - s)) * rows[stored[s]] + (position - s) * rows[stored[s + 1]]
            assert found[name].shape == rows[0].shape
            assert np.linalg.norm(found[name] - line) <= 1e-6 * np.linalg.norm(line)
            if t in stored:
                assert found[name].tobytes() == steps[int(t)][index].tobytes()


@pytest.mark.parametrize("t", ["-0.1", "5.0001", "nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize("name", ["out.mct", "out.mtt"])
def test_extract_outside_the_trajectory_exits_2(
    traj: Any, tmp_path: Path, bundle: Any, name: str, t: str
) -> None:
    """A t outside [0, T] is wrong usage and writes nothing."""
    done = traj("extract", bundle(name), f"--t={t}", "-o", tmp_path / "x.safetensors")
    assert done.code == 2
    assert "[0, 5]" in done.error
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


def test_extract_of_a_fraction_from_full_exits_2(traj: Any, tmp_path: Path, bundle: Any) -> None:
    """Between the timesteps of a .mtt there is nothing; the way out is told."""
    done = traj("extract", bundle("out.mtt"), "--t", "2.5", "-o", tmp_path / "x.safetensors")
    assert done.code == 2
    assert "convert it to .mct" in done.error


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_extract_from_full_is_exact(traj: Any, tmp_path: Path, bundle: Any, weights: Any, codec: str) -> None:
    """Every whole timestep comes out bit for bit."""
    path, steps = bundle("out.mtt", codec=codec), weights()[0]
    for t in range(6):
        output = tmp_path / f"{t}.safetensors"
        assert traj("extract", path, "--t", t, "-o", output, "--verify").code == 0
        found = load_file(output)
        assert sorted(x.tobytes() for x in found.values()) == sorted(x.tobytes() for x in steps[t])


@pytest.mark.parametrize("what", ["existing", "suffix", "dangling link"])
def test_extract_refuses_the_output(traj: Any, tmp_path: Path, bundle: Any, what: str) -> None:
    """An existing output, and one that is not called .safetensors, are wrong usage."""
    output = tmp_path / ("x.pt" if what == "suffix" else "x.safetensors")
    if what == "existing":
        output.write_bytes(b"precious")
    elif what == "dangling link":
        output.symlink_to("nowhere")
    done = traj("extract", bundle(), "--t", 1, "-o", output)
    assert done.code == 2
    assert done.error
    assert what != "existing" or output.read_bytes() == b"precious"
    assert what != "suffix" or not output.exists()
    assert not (tmp_path / "nowhere").exists()


def test_extract_into_a_missing_folder_exits_2(traj: Any, tmp_path: Path, bundle: Any) -> None:
    """A missing parent is wrong usage, as it is for convert and export, and the message names the folder."""
    done = traj("extract", bundle(), "--t", 1, "-o", tmp_path / "no" / "x.safetensors")
    assert done.code == 2
    assert ".partial" not in done.error


def test_extract_with_verify_finds_a_flipped_bit(traj: Any, tmp_path: Path, bundle: Any) -> None:
    """One flipped bit is found by --verify before anything is written."""
    path = bundle()
    victim = path / "knots" / "00000.safetensors"
    data = bytearray(victim.read_bytes())
    data[-4] ^= 1
    victim.write_bytes(data)
    output = tmp_path / "x.safetensors"
    done = traj("extract", path, "--t", 1, "-o", output, "--verify")
    assert (done.code, "hash_mismatch" in done.error) == (4, True)
    assert not output.exists()


# --- validate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.mct", "out.mtt"])
def test_sound_bundle_is_valid(traj: Any, bundle: Any, name: str) -> None:
    """A sound bundle: exit 0, and the word valid."""
    path = bundle(name)
    done = traj("validate", path)
    assert (done.code, done.out) == (0, f"{path}: valid\n")
    found = json.loads(traj("validate", path, "--json").out)
    assert found == {"path": str(path), "valid": True, "problems": []}


def test_validate_lists_every_problem(traj: Any, bundle: Any) -> None:
    """A missing file, a cut one and a flipped byte are all listed; the exit code is the worst."""
    path = bundle("out.mtt")
    other = bundle("a.mct")
    os.truncate(path / "theta" / "00000.h5", 100)
    (path / "theta" / "00001.h5").unlink()
    victim = other / "knots" / "00001.safetensors"
    data = bytearray(victim.read_bytes())
    data[-1] ^= 0x10
    victim.write_bytes(data)
    done = traj("validate", path, other, "--json")
    assert done.code == 4
    first, second = map(json.loads, done.out.splitlines())
    assert {(p["reason"], Path(p["where"]).name) for p in first["problems"]} >= {
        ("file_size_mismatch", "00000.h5"),
        ("file_missing", "00001.h5"),
    }
    assert {p["reason"] for p in second["problems"]} == {"hash_mismatch"}
    assert not first["valid"]
    assert not second["valid"]
    lines = traj("validate", path, other).out.splitlines()
    assert len(lines) == len(first["problems"]) + len(second["problems"])


def test_validate_goes_on_after_a_bad_bundle(traj: Any, bundle: Any) -> None:
    """Several bundles: each is reported, the exit code is that of the worst."""
    sound, bad = bundle("a.mct"), bundle("b.mct")
    (bad / "manifest.json").write_text("{")
    done = traj("validate", bad, sound)
    assert done.code == 4
    assert f"{sound}: valid" in done.out
    assert "manifest_invalid" in done.out


def rewrite(path: Path, name: str, change: Any) -> None:
    """Change a file of a bundle and bring its hash in the manifest up to date."""
    import hashlib

    file = path / name
    data = bytearray(file.read_bytes())
    change(data)
    file.write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        if entry["path"] == name:
            entry["sha256"] = hashlib.sha256(data).hexdigest()
    (path / "manifest.json").write_bytes(sealed(manifest))


def test_validate_finds_a_weight_that_is_not_finite(traj: Any, bundle: Any) -> None:
    """A NaN with a matching hash is found by its trajectory, timestep and parameter."""
    path = bundle()

    def poison(data: bytearray) -> None:
        data[-4:] = np.float32(np.nan).tobytes()

    rewrite(path, "knots/00001.safetensors", poison)
    done = traj("validate", path)
    assert done.code == 4
    assert "trajectory 1" in done.out
    assert "timestep 5" in done.out
    assert "`features.5.bias`" in done.out
    assert "non_finite" in done.out


def test_validate_names_the_place_of_every_problem(traj: Any, bundle: Any) -> None:
    """Every listed line says where, so that many bundles can be checked at once."""
    path = bundle()
    rewrite(
        path, "knots/00001.safetensors", lambda data: data.__setitem__(slice(-4, None), b"\x00\x00\xc0\x7f")
    )
    assert traj("validate", path).out.startswith(str(path))


def test_validate_finds_a_beta_that_falls(traj: Any, bundle: Any) -> None:
    """A beta table that is not monotone is found though its hash matches."""
    path = bundle()
    manifest = json.loads((path / "manifest.json").read_bytes())
    table = manifest["trajectories"][0]["table"]

    def swap(data: bytearray) -> None:
        data[table["u"] + 48 : table["u"] + 56] = np.float64(0.99).tobytes()

    rewrite(path, table["file"], swap)
    done = traj("validate", path)
    assert done.code == 4
    assert "beta_invalid" in done.out
