"""Every kind of damage is found, named, and given its exit code; a sound bundle has no problem."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import FormatError, ParamLayout
from trajfmt.bundle.validation import validate
from trajfmt.errors import REASONS, Problem

Array = NDArray[np.generic]
KNOTS, TABLES, THETA = "knots/00000.safetensors", "tables/00000.h5", "theta/00000.h5"


@pytest.fixture
def convex(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of two convexified trajectories."""
    return write_bundle(layout, walk(layout), walk(layout, seed=1), knots=(2,), gram=True)


@pytest.fixture
def full(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of one full trajectory, codec none."""
    return write_bundle(layout, walk(layout), encoding="full")


@pytest.fixture
def zstd(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of one full trajectory, codec zstd."""
    return write_bundle(layout, walk(layout), encoding="full", codec="zstd", name="zstd.mtt")


def _entry(path: Path, number: int = 0) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((path / "manifest.json").read_bytes())["trajectories"][number]
    return entry


def _patch(file: Path, offset: int, data: bytes) -> None:
    content = bytearray(file.read_bytes())
    content[offset : offset + len(data)] = data
    file.write_bytes(content)


def _reasons(path: Path) -> list[str]:
    problems = validate(path)
    assert all(problem.reason in REASONS and problem.exit_code in (3, 4, 5) for problem in problems)
    assert all(str(problem).isprintable() and problem.reason in str(problem) for problem in problems)
    return [problem.reason for problem in problems]


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
    assert _reasons(convex) == [reason]


def test_links_and_pipes_in_place_of_files(convex: Path, tmp_path: Path) -> None:
    """A link to a good copy is refused as well; a pipe does not hang."""
    os.rename(convex / KNOTS, tmp_path / "copy")
    (convex / KNOTS).symlink_to(tmp_path / "copy")
    (convex / TABLES).unlink()
    os.mkfifo(convex / TABLES)
    problems = validate(convex)
    assert [problem.reason for problem in problems] == ["path_unsafe", "path_unsafe"]
    assert [problem.exit_code for problem in problems] == [5, 5]


def test_every_flipped_bit_of_weights_is_found(convex: Path, full: Path, zstd: Path) -> None:
    """The hash finds what still looks like numbers."""
    for path, name in ((convex, KNOTS), (full, THETA), (zstd, THETA)):
        data = bytearray((path / name).read_bytes())
        data[-1] ^= 1
        (path / name).write_bytes(data)
        assert "hash_mismatch" in _reasons(path)


def test_several_problems_are_all_listed(convex: Path) -> None:
    """One run tells everything that is wrong, each with its place."""
    _patch(convex / KNOTS, _entry(convex)["data"] + 5, b"\xff")
    (convex / "knots/00001.safetensors").unlink()
    _patch(convex / TABLES, _entry(convex)["table"]["u"], np.float64(0.5).tobytes())
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
        (1, -0.5, "fall"),
        (3, 1.99999999, "fall"),
    ],
)
def test_beta_must_rise_from_0_to_s(
    row: int, values: float, words: str, convex: Path, edit_manifest: Callable[..., None]
) -> None:
    """Not finite, falling, or not s at knot s: named with the file, also by `at`."""
    entry = _entry(convex)
    if words == "fall" and row == 3:
        _patch(convex / TABLES, entry["table"]["u"] + 24 * 4, np.full(3, 1.5).tobytes())
    _patch(convex / TABLES, entry["table"]["u"] + 24 * row, np.float64(values).tobytes())
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
    _patch(convex / TABLES, _entry(convex)["table"]["step_norms"] + 8, np.float64(value).tobytes())
    edit_manifest(convex)
    assert _reasons(convex) == ["beta_invalid"]


def test_gram_must_be_finite(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """Section 6.3 says what it holds, and NaN is no inner product."""
    _patch(convex / TABLES, _entry(convex)["table"]["gram"] + 8, np.float64(np.nan).tobytes())
    edit_manifest(convex)
    assert _reasons(convex) == ["beta_invalid"]


def test_beta_must_follow_from_the_step_norms(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """A monotone table that is not eq. 9 is wrong; a validation checks all of section 6."""
    u = _entry(convex)["table"]["u"]
    content = (convex / TABLES).read_bytes()
    _patch(convex / TABLES, u + 24, content[u : u + 24])
    edit_manifest(convex)
    assert _reasons(convex) == ["beta_invalid"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_must_be_finite(
    value: float, convex: Path, full: Path, edit_manifest: Callable[..., None]
) -> None:
    """Trajectory, timestep and parameter are named."""
    _patch(convex / KNOTS, _entry(convex)["data"] + 36 + 4 * 7, np.float32(value).tobytes())
    _patch(full / THETA, _entry(full)["data"] + 3 * 36 + 4 * 8, np.float32(value).tobytes())
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
    data = _entry(convex)["data"]
    content = (convex / KNOTS).read_bytes()
    (convex / KNOTS).write_bytes(change(content[:data]) + content[data:])
    edit_manifest(convex)
    problems = validate(convex)
    assert [(problem.reason, problem.exit_code) for problem in problems] == [(reason, code)]


def test_knot_header_may_be_spelled_otherwise(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """Spaces, order and metadata are free."""
    content = (convex / KNOTS).read_bytes()
    data = _entry(convex)["data"]
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
    assert _reasons(full) == ["hash_mismatch"]


def _rewrite(path: Path, edit: Callable[..., None], fill: Callable[[h5py.File], None]) -> None:
    """Replace the file of weights by another HDF5 file, padded so that the manifest's offsets fit."""
    (path / THETA).unlink()
    with h5py.File(path / THETA, "w", alignment_threshold=512, alignment_interval=64) as file:
        fill(file)
    size = (path / THETA).stat().st_size
    os.truncate(path / THETA, max(size, 8192))
    edit(path)


SECRET = np.full((6, 9), 1234.5, "<f4")


def _external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("theta", (6, 9), "<f4", external=[(str(secret / "raw"), 0, h5py.h5f.UNLIMITED)])


def _external_link(file: h5py.File, secret: Path) -> None:
    file["theta"] = h5py.ExternalLink(str(secret / "secret.h5"), "theta")


def _soft_link(file: h5py.File, _secret: Path) -> None:
    file.create_group("g")
    file["theta"] = h5py.SoftLink("/elsewhere")


def _virtual(file: h5py.File, secret: Path) -> None:
    virtual = h5py.VirtualLayout((6, 9), "<f4")
    virtual[:] = h5py.VirtualSource(str(secret / "secret.h5"), "theta", (6, 9))
    file.create_virtual_dataset("theta", virtual)


def _vlen(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("theta", (6,), h5py.vlen_dtype("<f4"))


def _text(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("theta", (6,), h5py.string_dtype())


def _reference(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("theta", (6,), h5py.ref_dtype)


def _compound(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("theta", (6,), [("a", "<f4"), ("b", "<i4")])


def _opaque(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("theta", (6,), "V7")


def _named_type(file: h5py.File, _secret: Path) -> None:
    file["theta"] = np.dtype("<f4")


def _filter(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("theta", (6, 9), "<f4", chunks=(1, 9), scaleoffset=2)


def _deep(file: h5py.File, _secret: Path) -> None:
    file.create_group("/".join("abcdefgh"))


UNSAFE = [
    _external_storage,
    _external_link,
    _soft_link,
    _virtual,
    _vlen,
    _text,
    _reference,
    _compound,
    _opaque,
    _named_type,
    _filter,
    _deep,
]


@pytest.mark.parametrize("attack", UNSAFE, ids=lambda attack: attack.__name__.strip("_"))
def test_hdf5_that_leads_elsewhere_is_unsafe_and_not_followed(
    attack: Callable[[h5py.File, Path], None],
    full: Path,
    tmp_path: Path,
    edit_manifest: Callable[..., None],
) -> None:
    """`hdf5_unsafe`, and no content of the other file comes out of our reader."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/raw").write_bytes(SECRET.tobytes())
    with h5py.File(tmp_path / "secret/secret.h5", "w") as file:
        file["theta"] = SECRET
    _rewrite(full, edit_manifest, lambda file: attack(file, tmp_path / "secret"))
    problems = validate(full)
    unsafe = [problem for problem in problems if problem.reason == "hdf5_unsafe"]
    assert unsafe
    assert {problem.exit_code for problem in unsafe} == {5}
    with trajfmt.open(full) as bundle:
        for t in range(6):
            assert (bundle[0].at(t) != SECRET[0]).all()


@pytest.mark.parametrize(
    ("shape", "dtype", "name"),
    [
        ((9, 6), "<f4", "theta"),
        ((54,), "<f4", "theta"),
        ((6, 9), ">f4", "theta"),
        ((6, 9), "<u4", "theta"),
        ((6, 9), "<f4", "weights"),
    ],
)
def test_hdf5_metadata_must_agree_with_the_manifest(
    shape: tuple[int, ...], dtype: str, name: str, full: Path, edit_manifest: Callable[..., None]
) -> None:
    """Other programs would read other numbers."""
    theta = trajfmt.open(full)[0].theta().copy()  # type: ignore[attr-defined]

    def fill(file: h5py.File) -> None:
        file.create_dataset(name, shape, dtype)[...] = np.zeros(shape, dtype)

    _rewrite(full, edit_manifest, fill)
    _patch(full / THETA, _entry(full)["data"], theta.tobytes())
    edit_manifest(full)
    assert set(_reasons(full)) == {"header_mismatch"}


def test_chunk_index_must_agree_with_the_manifest(zstd: Path, edit_manifest: Callable[..., None]) -> None:
    """Two chunks exchanged in the manifest: our reader and HDF5 would read different timesteps."""

    def swap(manifest: dict[str, Any]) -> None:
        chunks = manifest["trajectories"][0]["chunks"]
        for key in ("offsets", "sizes"):
            chunks[key][1], chunks[key][2] = chunks[key][2], chunks[key][1]

    edit_manifest(zstd, swap)
    assert _reasons(zstd) == ["header_mismatch"]


def test_not_hdf5_at_all(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """The offsets still give betas, but no other tool opens the file."""
    _patch(convex / TABLES, 0, b"not hdf5")
    edit_manifest(convex)
    assert _reasons(convex) == ["header_invalid"]


def test_chunk_that_does_not_decode_is_named(zstd: Path, edit_manifest: Callable[..., None]) -> None:
    """Timestep, chunk and byte."""
    offset = _entry(zstd)["chunks"]["offsets"][4]
    _patch(zstd / THETA, offset, b"\0\0\0\0")
    edit_manifest(zstd)
    problems = validate(zstd)
    assert [problem.reason for problem in problems] == ["chunk_invalid"]
    assert f"timestep 4, chunk 0, byte {offset}" in problems[0].message


def test_problem_keeps_what_the_error_said() -> None:
    """Reason, place, message and exit code."""
    problem = Problem.of(trajfmt.UnsafeError("path_unsafe", "why", path="a\x1b"))
    assert (problem.reason, problem.exit_code) == ("path_unsafe", 5)
    assert str(problem) == "a\\x1b: why [path_unsafe]"


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
        _rewrite(full, edit_manifest, lambda file: file.__setitem__(name, h5py.SoftLink("/x")))
    else:
        layout = ParamLayout.of([(name, (9,))])
        full = write_bundle(layout, walk(layout), encoding="full", name="named.mtt")
        _patch(full / THETA, _entry(full)["data"], np.float32(np.nan).tobytes())
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


def test_hard_links_in_a_circle_do_not_hang(
    convex: Path, edit_manifest: Callable[..., None], python: Callable[..., str]
) -> None:
    """Groups that hold each other: a 15 kB file must not keep a validation busy for hours."""
    with h5py.File(convex / TABLES, "a") as file:
        for number in range(150):
            file[f"again{number}"] = file["/"]
    edit_manifest(convex)
    assert "hdf5_unsafe" in python(VALIDATE, convex)


@pytest.mark.parametrize("kind", ["convex", "full", "zstd"])
def test_damaged_hdf5_metadata_is_a_problem_and_not_a_traceback(
    kind: str, request: pytest.FixtureRequest, edit_manifest: Callable[..., None]
) -> None:
    """Any byte of the metadata may be wrong: libhdf5 complains in many ways, mostly `header_invalid`."""
    path: Path = request.getfixturevalue(kind)
    file = path / (TABLES if kind == "convex" else THETA)
    sound = file.read_bytes()
    rng = np.random.default_rng(0)
    found: Counter[str] = Counter()
    for _ in range(120):
        data = bytearray(sound)
        for position in rng.integers(0, min(len(data), 2400), 2):
            data[position] = rng.choice([0, 1, 127, 255])
        file.write_bytes(data)
        edit_manifest(path)
        found.update(_reasons(path))
    assert found["header_invalid"] > 10
    assert found.keys() <= {"header_invalid", "hdf5_unsafe", "header_mismatch", "hash_mismatch", "non_finite"}


def test_hdf5_type_without_numpy_equivalent_is_unsafe(full: Path, edit_manifest: Callable[..., None]) -> None:
    """HDF5's time type exists only there."""

    def fill(file: h5py.File) -> None:
        h5py.h5d.create(file.id, b"theta", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((2,)))

    _rewrite(full, edit_manifest, fill)
    assert "hdf5_unsafe" in _reasons(full)
