"""Zip files: cut, of several disks, compressed, of other programs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from trajfmt.errors import CorruptError
from trajfmt.sources.torchfile import unpickle, zipped
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.storage.inputs import InputFile

torch = pytest.importorskip("torch")
from tests.helpers.replay import expert, outcome, packed, refused, save  # noqa: E402


def test_cut_zip_is_refused_at_every_offset(tmp_path: Path) -> None:
    """A zip cut anywhere, from nothing to the last byte, is truncated or invalid: exit 4."""
    data, path = packed(True), tmp_path / "cut.pt"
    cuts = sorted({0, 1, 3, 4, 5, len(data) // 2, len(data) - 1, *range(0, len(data), 61)})
    found = {cut: outcome(path, data[:cut]) for cut in cuts}
    assert set(found.values()) <= {"source_truncated", "source_invalid"}, found
    assert found[0] == found[4] == found[len(data) - 1] == "source_truncated"


def test_zip_that_claims_several_disks_is_refused(tmp_path: Path) -> None:
    """One byte changed in the zip's end locator is damage, not a traceback."""
    data = bytearray(packed(True))
    locator = data.rfind(b"PK\x06\x07")
    if locator < 0:  # a zip without ZIP64 records: add a locator that claims two disks
        end = data.rfind(b"PK\x05\x06")
        data[end:end] = b"PK\x06\x07" + bytes(4) + end.to_bytes(8, "little") + (2).to_bytes(4, "little")
    else:
        data[locator + 16 : locator + 20] = (2).to_bytes(4, "little")
    assert outcome(tmp_path / "disks.pt", bytes(data)) in ("source_truncated", "source_invalid")


@pytest.mark.parametrize("name", ["byteorder", "version", "data/0", "data.pkl"])
def test_directory_and_local_headers_agree_on_names(tmp_path: Path, name: str) -> None:
    """A damaged name in the directory could hide a member, such as that which tells the order of bytes."""
    path = tmp_path / "a.pt"
    data = packed(True)
    at = data.rindex(b"/" + name.encode()) + 1
    path.write_bytes(data)
    mapped = InputFile(path, least=1)
    Members(mapped, path).verify()
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    mapped = InputFile(path, least=1)
    with pytest.raises(Unusual):
        Members(mapped, path).verify()


def test_addresses_as_numbers_of_storages(tmp_path: Path) -> None:
    """torch wrote them before 1.9. Such files are read in place, and by torch, and are compared."""
    path = save(tmp_path, [expert(0, 3)])
    expected = [tensor.reshape(-1).tolist() for step in expert(0, 3) for tensor in step]
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            key = name.rpartition("/data/")[2]
            if key.isdigit():
                name = name.removesuffix(key) + str(94_000_000_000_000 + int(key))
            if name.endswith("data.pkl"):
                for number in range(100):
                    old, new = str(number).encode(), str(94_000_000_000_000 + number).encode()
                    data = data.replace(
                        b"X" + bytes([len(old), 0, 0, 0]) + old + b"q", b"X\x0e\0\0\0" + new + b"q"
                    )
            archive.writestr(name, data)
    (found,) = zipped.read(path)
    read = [found.read(t, index)[:].tolist() for t in range(3) for index in range(len(found.shapes))]
    assert read == expected
    assert [x.reshape(-1).tolist() for step in unpickle.load(path)[0] for x in step] == expected
    data = bytearray(path.read_bytes())
    data[data.index(expert(0, 3)[1][0].numpy().tobytes())] ^= 1
    path.write_bytes(data)
    for read_all in (lambda: zipped.read(path)[0].read(1, 0)[:], lambda: unpickle.load(path)):
        with pytest.raises(CorruptError, match="CRC-32"):
            read_all()


def test_a_repacked_file_is_read(tmp_path: Path) -> None:
    """Unpacked, and packed again without compression: with entries for folders."""
    path = save(tmp_path, [expert(0, 3)])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "again", "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for folder in (f"{root}/", f"{root}/data/"):
            new.writestr(folder, b"")
        for name in sorted(old.namelist()):
            new.writestr(name, old.read(name))
    assert (
        zipped.read(tmp_path / "again")[0].read(2, 0)[:].tolist() == expert(0, 3)[2][0].reshape(-1).tolist()
    )
    assert len(unpickle.load(tmp_path / "again")[0]) == 3


def test_every_member_is_compared(tmp_path: Path) -> None:
    """Also those that hold no weights."""
    path = tmp_path / "a.pt"
    data = packed(True)
    for content, name in ((b"little", "byteorder"), (b"3\n", "version")):
        at = data.index(content, data.index(b"/" + name.encode()))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        mapped = InputFile(path, least=1)
        with pytest.raises(CorruptError, match=f"its member {name}: CRC-32 must be"):
            Members(mapped, path).verify()


def test_zip_of_another_program_is_refused(tmp_path: Path) -> None:
    """A zip without torch's records is sound, and named: exit 1."""
    path = tmp_path / "replay_buffer_0.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "a zip archive that torch.save did not write" in str(refused(path, "nothing_to_convert"))


@pytest.mark.parametrize("shapes", [((1,), (1,)), ((40, 30), (40,))], ids=["smaller", "larger"])
def test_compressed_zip_is_refused(tmp_path: Path, shapes: Any) -> None:
    """Somebody's zip of an unpacked buffer: mapped, torch would take compressed bytes for small weights."""
    path, again = save(tmp_path, [expert(0, shapes=shapes)]), tmp_path / "again"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    again.rename(path)
    assert "compressed" in str(refused(path, "nothing_to_convert"))
