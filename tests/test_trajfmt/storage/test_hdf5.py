"""HDF5 files of strangers: what leads elsewhere is refused, what disagrees with the manifest is found."""

from __future__ import annotations

import errno
import fcntl
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import trajfmt
from tests.helpers.damage import TABLES, THETA, entry_of, patch_at, reasons_of, rewrite
from trajfmt.bundle.validation import validate
from trajfmt.errors import ReadError
from trajfmt.storage import hdf5

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
    rewrite(full, edit_manifest, lambda file: attack(file, tmp_path / "secret"))
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

    rewrite(full, edit_manifest, fill)
    patch_at(full / THETA, entry_of(full)["data"], theta.tobytes())
    edit_manifest(full)
    assert set(reasons_of(full)) == {"header_mismatch"}


def test_chunk_index_must_agree_with_the_manifest(zstd: Path, edit_manifest: Callable[..., None]) -> None:
    """Two chunks exchanged in the manifest: our reader and HDF5 would read different timesteps."""

    def swap(manifest: dict[str, Any]) -> None:
        chunks = manifest["trajectories"][0]["chunks"]
        for key in ("offsets", "sizes"):
            chunks[key][1], chunks[key][2] = chunks[key][2], chunks[key][1]

    edit_manifest(zstd, swap)
    assert reasons_of(zstd) == ["header_mismatch"]


def test_not_hdf5_at_all(convex: Path, edit_manifest: Callable[..., None]) -> None:
    """The offsets still give betas, but no other tool opens the file."""
    patch_at(convex / TABLES, 0, b"not hdf5")
    edit_manifest(convex)
    assert reasons_of(convex) == ["header_invalid"]


VALIDATE = """
import sys, pathlib
from tests.helpers.walks import write_walks
from trajfmt.bundle.validation import validate
print(*sorted({problem.reason for problem in validate(pathlib.Path(sys.argv[1]))}))
"""


def test_hard_links_in_a_circle_do_not_hang(
    convex: Path, edit_manifest: Callable[..., None], python: Callable[..., str]
) -> None:
    """Groups that hold each other: a 15 kB file must not keep a validation busy for hours."""
    with h5py.File(convex / TABLES, "a") as file:
        for number in range(150):
            file[f"again{number}"] = file["/"]
    edit_manifest(convex)
    assert "hdf5_unsafe" in python(VALIDATE, convex)


def _absent(_group: h5py.Group) -> None:
    """Leave it out."""


def _longer(group: h5py.Group) -> None:
    group["timestep"] = np.arange(100)


def _variable(group: h5py.Group) -> None:
    group.create_dataset("timestep", (len(group["u"]),), h5py.string_dtype())


def _linked(group: h5py.Group) -> None:
    group["timestep"] = h5py.ExternalLink("elsewhere.h5", "timestep")


def _reals(group: h5py.Group) -> None:
    group["timestep"] = np.zeros(len(group["u"]))


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (_absent, []),
        (_longer, ["header_mismatch"]),
        (_reals, ["hdf5_unsafe"]),
        (_variable, ["hdf5_unsafe"]),
        (_linked, ["hdf5_unsafe"]),
    ],
)
def test_labels_may_be_absent_but_not_of_another_kind(
    change: Callable[[h5py.Group], None],
    reasons: list[str],
    convex: Path,
    edit_manifest: Callable[..., None],
) -> None:
    """Other programs read the dimension scales, which the manifest does not place."""
    with h5py.File(convex / TABLES, "a") as file:
        group = file["00000"]
        for name in ("u", "gram"):
            if name in group:
                group[name].dims[0].detach_scale(group["timestep"])
        del group["timestep"]
        change(group)
    edit_manifest(convex)
    assert reasons_of(convex) == reasons


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
        found.update(reasons_of(path))
    assert found["header_invalid"] > 10
    assert found.keys() <= {"header_invalid", "hdf5_unsafe", "header_mismatch", "hash_mismatch", "non_finite"}


def test_hdf5_type_without_numpy_equivalent_is_unsafe(full: Path, edit_manifest: Callable[..., None]) -> None:
    """HDF5's time type exists only there."""

    def fill(file: h5py.File) -> None:
        h5py.h5d.create(file.id, b"theta", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((2,)))

    rewrite(full, edit_manifest, fill)
    assert "hdf5_unsafe" in reasons_of(full)


@pytest.mark.parametrize("kind", [OSError, RuntimeError, KeyError])
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES, errno.ESTALE, errno.EINVAL, 0])
def test_errors_of_the_operating_system_are_not_damage(
    full: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], number: int
) -> None:
    """libhdf5 writes them into its message; only those that odd places in the file cause say `damaged`."""
    real = h5py.File
    said = f"Can't read data (file read failed: filename = 'x', errno = {number}, error message = 'e')"

    def refuse(*arguments: Any, **options: Any) -> h5py.File:
        assert options == {"locking": False}
        real(*arguments, **options).close()
        raise kind(said)

    monkeypatch.setattr(h5py, "File", refuse)
    if number in (errno.EINVAL, 0):
        assert {problem.reason for problem in validate(full)} == {"header_invalid"}
    else:
        with pytest.raises(ReadError, match=f"h5: cannot be read: {os.strerror(number)}"):
            validate(full)


def test_error_while_the_bytes_are_searched_stays_what_it_is(
    full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails before libhdf5 sees the file: that is no damage of the file."""
    failed = ReadError.of(OSError(errno.EIO, os.strerror(errno.EIO)), full)

    def fail(_path: Path) -> None:
        raise failed

    monkeypatch.setattr("trajfmt.storage.hdf5.endless", fail)
    with pytest.raises(ReadError) as caught:
        validate(full)
    assert caught.value is failed


def test_lock_of_another_program_is_no_damage(full: Path) -> None:
    """A program that reads the file may hold a lock of its own."""
    files = [path.open("rb") for path in full.rglob("*.h5")]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    assert validate(full) == []
    for file in files:
        file.close()


def test_very_many_superfluous_objects_are_counted_to_a_few(
    full: Path, edit_manifest: Callable[..., None]
) -> None:
    """And what is missing is then not looked for."""

    def fill(file: h5py.File) -> None:
        for number in range(hdf5._ODD + 5):
            file[f"a{number:03d}"] = 0

    rewrite(full, edit_manifest, fill)
    problems = validate(full)
    assert len([each for each in problems if "is not in the manifest" in each.message]) == hdf5._ODD
    assert not any("is missing" in each.message for each in problems)
