"""Every kind of damage is found, named, and given its exit code; a sound bundle has no problem."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.damage import KNOTS, TABLES, THETA, entry_of, patch_at, reasons_of, rewrite
from trajfmt import FormatError, ParamLayout
from trajfmt.bundle import validation
from trajfmt.bundle.validation import validate
from trajfmt.storage import holes

Array = NDArray[np.generic]


def test_sound_bundles_have_no_problem(convex: Path, full: Path, zstd: Path) -> None:
    """What the writer publishes is valid, in every encoding."""
    assert validate(convex) == validate(full) == validate(zstd) == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: (p / KNOTS).unlink(), "file_missing"),
        (lambda p: (p / TABLES).unlink(), "file_missing"),
        (lambda p: os.truncate(p / KNOTS, 100), "file_size_mismatch"),
        (lambda p: os.truncate(p / TABLES, 0), "file_size_mismatch"),
        (lambda p: os.truncate(p / TABLES, 10**6), "file_size_mismatch"),
        (lambda p: (p / "manifest.json").unlink(), "not_a_bundle"),
        (lambda p: os.truncate(p / "manifest.json", 100), "manifest_invalid"),
        (lambda p: os.truncate(p / "manifest.json", 0), "manifest_invalid"),
    ],
)
def test_missing_and_truncated_files(damage: Callable[[Path], object], reason: str, convex: Path) -> None:
    """Each is one problem, not a cascade."""
    damage(convex)
    assert reasons_of(convex) == [reason]


def test_links_and_pipes_in_place_of_files(convex: Path, tmp_path: Path) -> None:
    """A link to a good copy is refused as well; a pipe does not hang."""
    os.rename(convex / KNOTS, tmp_path / "copy")
    (convex / KNOTS).symlink_to(tmp_path / "copy")
    (convex / TABLES).unlink()
    os.mkfifo(convex / TABLES)
    problems = validate(convex)
    assert [problem.reason for problem in problems] == ["path_unsafe", "path_unsafe"]
    assert [problem.exit_code for problem in problems] == [5, 5]


@pytest.mark.parametrize("pipe", [False, True])
def test_links_and_pipes_of_which_the_digests_are_damaged_as_well(
    full: Path, tmp_path: Path, pipe: bool
) -> None:
    """What is no regular file is never opened as HDF5, whatever else is wrong with the bundle."""
    digests = next(full.glob("pieces/*"))
    patch_at(digests, digests.stat().st_size - 1, bytes([digests.read_bytes()[-1] ^ 1]))
    os.rename(full / THETA, tmp_path / "copy")
    os.mkfifo(full / THETA) if pipe else (full / THETA).symlink_to(tmp_path / "copy")
    assert reasons_of(full).count("path_unsafe") == 1
    assert "header_invalid" not in reasons_of(full)


def test_every_flipped_bit_of_weights_is_found(convex: Path, full: Path, zstd: Path) -> None:
    """The hash finds what still looks like numbers."""
    for path, name in ((convex, KNOTS), (full, THETA), (zstd, THETA)):
        data = bytearray((path / name).read_bytes())
        data[-1] ^= 1
        (path / name).write_bytes(data)
        assert "hash_mismatch" in reasons_of(path)


def test_several_problems_are_all_listed(convex: Path) -> None:
    """One run tells everything that is wrong, each with its place."""
    patch_at(convex / KNOTS, entry_of(convex)["data"] + 5, b"\xff")
    (convex / "knots/00001.safetensors").unlink()
    patch_at(convex / TABLES, entry_of(convex)["table"]["u"], np.float64(0.5).tobytes())
    problems = validate(convex)
    found = {(problem.reason, Path(problem.where).name) for problem in problems}
    assert {
        ("hash_mismatch", "00000.safetensors"),
        ("file_missing", "00001.safetensors"),
        ("hash_mismatch", "00000.h5"),
        ("beta_invalid", "00000.h5"),
    } <= found
    assert {problem.exit_code for problem in problems} == {4}


@pytest.mark.parametrize(
    ("row", "values", "words"),
    [
        (0, 1e-9, "at knot 0"),
        (5, 1.999999, "at knot 5"),
        (2, 1.0000001, "at knot 2"),
        (1, np.nan, "finite"),
        (1, np.inf, "finite"),
        (1, -0.5, "must not decrease"),
        (3, 1.99999999, "must not decrease"),
    ],
)
def test_beta_must_rise_from_0_to_s(
    row: int, values: float, words: str, convex: Path, edit_manifest: Callable[..., None]
) -> None:
    """Not finite, falling, or not s at knot s: named with the file, also by `at`."""
    entry = entry_of(convex)
    if words == "must not decrease" and row == 3:
        patch_at(convex / TABLES, entry["table"]["u"] + 24 * 4, np.full(3, 1.5).tobytes())
    patch_at(convex / TABLES, entry["table"]["u"] + 24 * row, np.float64(values).tobytes())
    edit_manifest(convex)
    problems = validate(convex)
    assert [(problem.reason, problem.exit_code) for problem in problems] == [("beta_invalid", 4)]
    assert words in problems[0].message
    with trajfmt.open(convex) as bundle, pytest.raises(FormatError, match=words):
        bundle[0].at(0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_step_norms_must_be_finite_and_not_negative(
    value: float, convex: Path, edit_manifest: Callable[..., None]
) -> None:
    """A norm is a norm."""
    patch_at(convex / TABLES, entry_of(convex)["table"]["step_norms"] + 8, np.float64(value).tobytes())
    edit_manifest(convex)
    assert reasons_of(convex) == ["beta_invalid"]


def test_gram_must_be_finite(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """Section 6.3 says what it holds, and NaN is no inner product."""
    patch_at(convex / TABLES, entry_of(convex)["table"]["gram"] + 8, np.float64(np.nan).tobytes())
    edit_manifest(convex)
    assert reasons_of(convex) == ["beta_invalid"]


def test_beta_must_follow_from_the_step_norms(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """A monotone table that is not eq. 9 is wrong; a validation checks all of section 6."""
    u = entry_of(convex)["table"]["u"]
    content = (convex / TABLES).read_bytes()
    patch_at(convex / TABLES, u + 24, content[u : u + 24])
    edit_manifest(convex)
    assert reasons_of(convex) == ["beta_invalid"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_must_be_finite(
    value: float, convex: Path, full: Path, edit_manifest: Callable[..., None]
) -> None:
    """Trajectory, timestep and parameter are named."""
    patch_at(convex / KNOTS, entry_of(convex)["data"] + 36 + 4 * 7, np.float32(value).tobytes())
    patch_at(full / THETA, entry_of(full)["data"] + 3 * 36 + 4 * 8, np.float32(value).tobytes())
    for path, where in ((convex, "timestep 2, parameter `fc.bias`"), (full, "timestep 3, parameter `scale`")):
        edit_manifest(path)
        problems = validate(path)
        assert [(problem.reason, problem.exit_code) for problem in problems] == [("non_finite", 4)]
        assert f"trajectory 0: weights must be finite: {where}" in str(problems[0])


@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        (lambda h: h.replace(b"F32", b"F16"), "header_mismatch", 4),
        (lambda h: h.replace(b"fc.bias", b"fc.bia\xc3"), "header_invalid", 4),
        (lambda h: h.replace(b"00000/scale", b"00000/scalE"), "header_mismatch", 4),
        (lambda h: h.replace(b"[2,3]", b"[3,2]"), "header_mismatch", 4),
        (lambda h: h.replace(b'{"__metadata__"', b'["__metadata__"'), "header_invalid", 4),
        (lambda h: h[:-1] + b"x", "header_invalid", 4),
        (lambda h: (10**8 + 1).to_bytes(8, "little") + h[8:], "header_too_large", 5),
        (lambda h: b"\xff" * 8 + h[8:], "header_too_large", 5),
        (lambda h: (int.from_bytes(h[:8], "little") - 1).to_bytes(8, "little") + h[8:], "header_mismatch", 4),
        (lambda h: bytes(8) + h[8:], "header_mismatch", 4),
    ],
)
def test_knot_header_must_say_what_the_manifest_says(
    change: Callable[[bytes], bytes], reason: str, code: int, convex: Path, edit_manifest: Callable[..., None]
) -> None:
    """Other programs read by it."""
    data = entry_of(convex)["data"]
    content = (convex / KNOTS).read_bytes()
    (convex / KNOTS).write_bytes(change(content[:data]) + content[data:])
    edit_manifest(convex)
    problems = validate(convex)
    assert [(problem.reason, problem.exit_code) for problem in problems] == [(reason, code)]


def test_knot_header_may_be_spelled_otherwise(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """Spaces, order and metadata are free."""
    content = (convex / KNOTS).read_bytes()
    data = entry_of(convex)["data"]
    table = json.loads(content[8:data])
    del table["__metadata__"]
    text = json.dumps(dict(reversed(table.items()))).encode()
    head = (len(text) + 10).to_bytes(8, "little") + text + b" " * 10
    (convex / KNOTS).write_bytes(head + content[data:])
    edit_manifest(convex, lambda manifest: manifest["trajectories"][0].update(data=len(head)))
    assert validate(convex) == []


def test_digest_must_be_that_of_the_endpoints(full: Path, edit_manifest: Callable[..., None]) -> None:
    """It is what duplicates are found by."""
    edit_manifest(full, lambda manifest: manifest["trajectories"][0].update(digest="0" * 64))
    assert reasons_of(full) == ["hash_mismatch"]


def test_chunk_that_does_not_decode_is_named(zstd: Path, edit_manifest: Callable[..., None]) -> None:
    """Timestep, chunk and byte."""
    offset = entry_of(zstd)["chunks"]["offsets"][4]
    patch_at(zstd / THETA, offset, b"\0\0\0\0")
    edit_manifest(zstd)
    problems = validate(zstd)
    assert [problem.reason for problem in problems] == ["chunk_invalid"]
    assert f"timestep 4, chunk 0, byte {offset}" in problems[0].message


@pytest.mark.parametrize("where", ["hdf5", "parameter"])
def test_names_of_a_stranger_are_escaped_in_problems(
    where: str,
    full: Path,
    write_bundle: Callable[..., Path],
    walk: Callable[..., Array],
    edit_manifest: Callable[..., None],
) -> None:
    """A dataset or parameter whose name is a terminal command stays text."""
    name = "\x1b]0;pwned\x07"
    if where == "hdf5":
        rewrite(full, edit_manifest, lambda file: file.__setitem__(name, h5py.SoftLink("/x")))
    else:
        layout = ParamLayout.of([(name, (9,))])
        full = write_bundle(layout, walk(layout), encoding="full", name="named.mtt")
        patch_at(full / THETA, entry_of(full)["data"], np.float32(np.nan).tobytes())
        edit_manifest(full)
    problems = validate(full)
    assert problems
    assert all(str(problem).isprintable() for problem in problems)


VALIDATE = """
import sys, pathlib
from trajfmt.bundle.validation import validate
print(*sorted({problem.reason for problem in validate(pathlib.Path(sys.argv[1]))}))
"""


def test_pipe_behind_a_linked_folder_does_not_hang(
    convex: Path, tmp_path: Path, python: Callable[..., str]
) -> None:
    """What `path_unsafe` was said of is not opened afterwards."""
    (tmp_path / "elsewhere").mkdir()
    os.mkfifo(tmp_path / "elsewhere/00000.h5")
    shutil.rmtree(convex / "tables")
    (convex / "tables").symlink_to(tmp_path / "elsewhere")
    assert "path_unsafe" in python(VALIDATE, convex)


@pytest.mark.parametrize("name", ["manifest.json", "knots/00000.safetensors.index.json"])
def test_validate_notices_every_flipped_bit_of_a_small_file(
    name: str, layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path]
) -> None:
    """Bits of the manifest and of an index, drawn with a seed: each makes the bundle invalid."""
    path = write_bundle(layout, walk(layout), shard_bytes=24)
    assert validate(path) == []
    file = path / name
    plain = file.read_bytes()
    for bit in np.random.default_rng(11).choice(8 * len(plain), 300, replace=False).tolist():
        changed = bytearray(plain)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        assert validate(path), f"bit {bit} of {name}"


def test_many_timesteps_that_are_not_finite_are_counted_to_a_hundred(
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
    edit_manifest: Callable[..., None],
) -> None:
    """Each of the first hundred is named with its parameter; the rest would only take time."""
    theta = walk(layout, timesteps=150).astype("<f4")
    path = write_bundle(layout, theta, encoding="full")
    data = bytearray((path / THETA).read_bytes())
    start = entry_of(path)["data"]
    weights = np.frombuffer(data, "<f4", theta.size, start).reshape(theta.shape)
    weights[20:, 7] = np.nan
    (path / THETA).write_bytes(data)
    edit_manifest(path)
    problems = [problem for problem in validate(path) if problem.reason == "non_finite"]
    assert len(problems) == 100
    name = layout.parameters[[o > 7 for o in layout.offsets].index(True) - 1].name
    assert [f"timestep {t}, parameter `{name}`" in str(p) for t, p in enumerate(problems, 20)] == [True] * 100


def test_what_is_claimed_without_being_there_is_one_problem(
    full: Path,
    layout: ParamLayout,
    write_bundle: Callable[..., Path],
    walk: Callable[..., Array],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Very many missing files are not all listed, and holes are not hashed."""
    other = write_bundle(layout, walk(layout), encoding="full", name="holes.mtt")
    monkeypatch.setattr(validation, "_MOST_ABSENT", 2)
    (full / "theta/00000.h5").unlink()
    (problem,) = validate(full)
    assert (problem.reason, problem.where) == ("file_missing", str(full / "theta/00000.h5"))
    assert "like 1,000" not in problem.message
    (full / "pieces/00000.safetensors").unlink()
    problems = validate(full)
    assert {(problem.reason, problem.where) for problem in problems} == {
        ("file_missing", str(full / name)) for name in ("theta/00000.h5", "pieces/00000.safetensors")
    }
    assert all("like 1,000 files of this bundle or more" in problem.message for problem in problems)

    monkeypatch.setattr(holes, "LEAST", 0)
    monkeypatch.setattr(holes, "_stored", lambda _: 1)
    (problem,) = validate(other)
    assert (problem.reason, problem.where) == ("size_overflow", str(other))
    assert "must not consist of holes" in problem.message
