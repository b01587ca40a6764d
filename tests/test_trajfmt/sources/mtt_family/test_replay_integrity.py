"""One flipped bit of a buffer is found on every way on which it can be read."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajfmt.errors import CorruptError, TrajfmtError
from trajfmt.sources.checkpoints.statedict import open_file
from trajfmt.sources.discovery import open_source
from trajfmt.sources.mtt_family.replay import ReplayPart

torch = pytest.importorskip("torch")
from tests.helpers.replay import refused, run, save  # noqa: E402

Make = Callable[[Any, Any], Any]
FORMS: dict[str, Make] = {
    "plain": lambda w, b: [w, b],
    "parameters": lambda w, b: [torch.nn.Parameter(w), torch.nn.Parameter(b)],
    "tuple": lambda w, b: (w, b),
    "transposed": lambda w, b: [w.t(), b],
    "shared": lambda w, b: [(flat := torch.cat([w.reshape(-1), b]))[:24].view(4, 6), flat[24:]],
    "slice": lambda w, b: [torch.stack([w, w + 1])[0], b],
    "expanded": lambda w, b: [w[:, :1].clone().expand(4, 6), b],
    "left to torch": lambda w, b: [w, torch.complex(b, b).conj().imag],
}
"""Forms of a timestep, by the way on which they are read."""


def saved(form: str, **options: Any) -> bytes:
    """Return the bytes of a buffer of two timesteps."""
    generator = torch.Generator().manual_seed(0)
    steps = [
        FORMS[form](torch.randn(4, 6, generator=generator), torch.randn(4, generator=generator))
        for _ in range(2)
    ]
    buffer = io.BytesIO()
    torch.save([steps], buffer, **options)
    return buffer.getvalue()


def flipped(data: bytes, *places: int) -> bytes:
    """Return bytes with the lowest bit of some of them flipped."""
    damaged = bytearray(data)
    for place in places:
        damaged[place] ^= 1
    return bytes(damaged)


def weights(data: bytes, number: int = 0) -> int:
    """Return the position of the bytes of a storage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = archive.read(next(name for name in archive.namelist() if name.endswith(f"/data/{number}")))
    return data.index(content)


def read(path: Path, *, trust_pickle: bool) -> list[bytes]:
    """Return the bytes of all weights."""
    return [
        np.asarray(item.read(t, index)).tobytes()
        for item in ReplayPart(path, trust_pickle=trust_pickle).open(path.parent)
        for t in range(item.timesteps)
        for index in range(len(item.shapes))
    ]


@pytest.mark.parametrize("trust_pickle", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_bit_of_a_weight_is_found(tmp_path: Path, form: str, trust_pickle: bool) -> None:
    """Also one beside the numbers that are used: the checksum is that of the storage."""
    path = tmp_path / "replay_buffer_0.pt"
    data = saved(form)
    path.write_bytes(data)
    assert len(read(path, trust_pickle=trust_pickle)) == 4
    path.write_bytes(flipped(data, weights(data) + 2))
    error = refused(path, "source_invalid", trust_pickle=trust_pickle)
    assert isinstance(error, CorruptError)
    assert "CRC-32" in str(error)


@pytest.mark.parametrize("form", FORMS)
def test_no_second_flip_hides_the_first(tmp_path: Path, form: str) -> None:
    """Damage to names, headers or directory does not lead to a reader that compares less."""
    path = tmp_path / "replay_buffer_0.pt"
    data = saved(form)
    first = weights(data) + 2
    used = {*range(weights(data), weights(data) + 96)}
    places = [place for place in range(len(data)) if place not in used]
    for place in np.random.default_rng(3).choice(places, 250, replace=False):
        path.write_bytes(flipped(data, first, int(place)))
        with pytest.raises(TrajfmtError):
            read(path, trust_pickle=False)


@pytest.mark.parametrize("form", ["tuple", "left to torch"])
def test_files_without_checksums_are_read(tmp_path: Path, form: str) -> None:
    """torch has an option that leaves all of them out; there is nothing to compare then."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        data = saved(form)
    finally:
        torch.serialization.set_crc32_options(before)
    path = tmp_path / "replay_buffer_0.pt"
    path.write_bytes(saved(form))
    expected = read(path, trust_pickle=False)
    path.write_bytes(data)
    assert read(path, trust_pickle=False) == expected


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_checksum_beside_others_is_damage(tmp_path: Path, form: str) -> None:
    """A 0 in place of one checksum does not switch its comparison off."""
    path = tmp_path / "replay_buffer_0.pt"
    data = bytearray(flipped(saved(form), weights(saved(form)) + 2))
    with zipfile.ZipFile(io.BytesIO(saved(form))) as archive:
        member = next(item for item in archive.infolist() if item.filename.endswith("/data/0"))
    at = data.rindex(member.CRC.to_bytes(4, "little"))
    data[at : at + 4] = bytes(4)
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptError, match="CRC-32 must be 00000000"):
        read(path, trust_pickle=False)


@pytest.mark.parametrize("name", ["w", "part", "turned", "row"])
def test_a_checkpoint_is_compared_too(tmp_path: Path, name: str) -> None:
    """Each of several views of one storage finds the flip, and another storage does not."""
    flat = torch.arange(24.0)
    state = {"w": flat, "part": flat[3:7], "turned": flat.view(4, 6).t(), "row": flat[:6].expand(4, 6)}
    path = tmp_path / "step_0.pt"
    torch.save({**state, "other": torch.ones(3)}, path)
    data = path.read_bytes()
    path.write_bytes(flipped(data, weights(data) + 90))
    tensors = open_file(path).tensors
    assert np.asarray(tensors["other"].read()).tolist() == [1, 1, 1]
    with pytest.raises(CorruptError, match="CRC-32"):
        np.asarray(tensors[name].read())


def test_a_hole_is_named_where_no_checksum_tells(tmp_path: Path) -> None:
    """Files of torch's older kind have none. With checksums, the hole is damage, or the zeros are right."""
    layer = [[[torch.full((128, 128), t + 1.0), torch.zeros(64, 128)] for t in range(3)]]
    for zipped, start in ((False, 8192), (True, 8192), (True, -1)):
        folder = tmp_path / f"{zipped}{start}" / "src"
        path = save(folder, layer, _use_new_zipfile_serialization=zipped)
        data = path.read_bytes()
        first = start if start > 0 else -(-data.index(bytes(8192)) // 4096) * 4096
        with path.open("wb") as file:
            file.truncate(len(data))
            os.pwrite(file.fileno(), data[:first], 0)
            os.pwrite(file.fileno(), data[first + 4096 :], first + 4096)
            os.fsync(file.fileno())
            if os.lseek(file.fileno(), first, os.SEEK_HOLE) != first:
                pytest.skip("this file system has no holes")
        notices = open_source(folder).notices
        assert any("never written" in text for text in notices) is not zipped
        if zipped and start > 0:
            assert "CRC-32" in str(refused(folder, "source_invalid"))
        else:
            assert run(folder)
