"""Plain buffers are read in place, as torch would read them, and anything else is left to torch."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, TrajfmtError
from trajfmt.sources.mtt_family.replay import ReplayPart
from trajfmt.sources.torchfile import zipped
from trajfmt.sources.torchfile.tensors import TensorTrajectory

torch = pytest.importorskip("torch")

SHAPES = ((3, 2, 2), (3,), (), (0, 4), (300, 5))


def buffer(count: int = 3, timesteps: int = 4, dtype: object = None) -> list[list[list[object]]]:
    """Return random trajectories."""
    generator = torch.Generator().manual_seed(0)
    return [
        [
            [torch.randn(shape, generator=generator).to(dtype or torch.float32) for shape in SHAPES]
            for _ in range(timesteps)
        ]
        for _ in range(count)
    ]


def same(path: Path, trajectories: list[list[list[object]]]) -> None:
    """Require that a file is read in place, with the weights that were saved."""
    found = zipped.read(path)
    assert len(found) == len(trajectories)
    for item, steps in zip(found, trajectories, strict=True):
        item.check()
        assert item.shapes == tuple(tuple(tensor.shape) for tensor in steps[0])
        for t, step in enumerate(steps):
            for index, tensor in enumerate(step):
                assert item.read(t, index)[:].tobytes() == tensor.detach().numpy().tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_plain_buffer_is_read_in_place(tmp_path: Path, dtype: str) -> None:
    """Every shape, scalar and empty ones too, bit for bit."""
    path = tmp_path / "replay_buffer_0.pt"
    saved = buffer(dtype=getattr(torch, dtype))
    torch.save(saved, path)
    same(path, saved)


def test_parameters_are_read_in_place(tmp_path: Path) -> None:
    """`nn.Parameter` is plain too."""
    saved = [[[torch.nn.Parameter(tensor) for tensor in step] for step in steps] for steps in buffer(2)]
    path = tmp_path / "replay_buffer_0.pt"
    torch.save(saved, path)
    same(path, saved)


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1},
        [[(torch.ones(2),)]],
        [[[torch.ones(2, dtype=torch.int32)]]],
        [[[torch.ones(4, 3).t()]]],
        [[[torch.ones(2).expand(5, 2)]]],
        [[[torch.ones(4)[:2], torch.ones(2)]]],
        [[[1.0]]],
        [],
    ],
    ids=["dict", "tuple", "integers", "transposed", "expanded", "part", "floats", "empty"],
)
def test_other_contents_are_left_to_others(tmp_path: Path, content: object) -> None:
    """What is not plain is `Unusual`, or an empty list; never read another way than torch would."""
    path = tmp_path / "replay_buffer_0.pt"
    torch.save(content, path)
    if content == []:
        assert zipped.read(path) == []
        return
    with pytest.raises(zipped.Unusual):
        zipped.read(path)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from trajfmt.convert import convert
from trajfmt.errors import MissingDependencyError
print(convert(sys.argv[1], sys.argv[2] + "/plain.mct"))
try:
    convert(sys.argv[3], sys.argv[2] + "/other.mct")
except MissingDependencyError as exc:
    print(exc)
"""


def test_only_what_is_left_to_torch_needs_torch(tmp_path: Path, python: Callable[..., str]) -> None:
    """Where torch cannot be imported plain buffers are converted, and another is refused in one line."""
    for name, as_zip in (("plain", True), ("other", False)):
        (tmp_path / name).mkdir()
        saved = buffer(2, 3)
        torch.save(saved, tmp_path / name / "replay_buffer_0.pt", _use_new_zipfile_serialization=as_zip)
    told = python(WITHOUT_TORCH, tmp_path / "plain", tmp_path, tmp_path / "other")
    needs = "reading .pt files needs torch; install it with: pip install 'trajfmt[torch]'"
    assert told.splitlines() == ["2", needs]
    convert(tmp_path / "plain", tmp_path / "with.mct")
    plain, with_torch = (tmp_path / name / "manifest.json" for name in ("plain.mct", "with.mct"))
    assert plain.read_bytes() == with_torch.read_bytes()
    assert not (tmp_path / "other.mct").exists()


def test_damaged_files_are_never_read_otherwise_than_by_torch(tmp_path: Path) -> None:
    """Any byte of pickle and directory may be wrong: the weights are torch's, or there are none."""
    path = tmp_path / "replay_buffer_0.pt"
    torch.save(buffer(1, 2), path)
    sound = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(next(n for n in archive.namelist() if n.endswith("data.pkl"))).header_offset
        directory = archive.start_dir
    random = np.random.default_rng(0)
    places = [*range(start, start + 900), *range(directory, len(sound))]
    compared = 0
    for _ in range(600):
        data = bytearray(sound)
        for place in random.choice(places, 2):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            found = zipped.read(path)
            arrays = [
                x.read(t, i)[:].tobytes()
                for x in found
                for t in range(x.timesteps)
                for i in range(len(x.shapes))
            ]
        except (zipped.Unusual, IndexError, CorruptError):
            continue
        try:
            steps = torch.load(path, weights_only=True)
        except Exception:
            continue  # torch checks what does not concern the weights, such as the version
        compared += 1
        assert arrays == [tensor.numpy().tobytes() for step in steps for s in step for tensor in s]
    assert compared > 10


@pytest.mark.parametrize("keep_going", [False, True])
def test_one_flipped_bit_of_a_weight_is_found(tmp_path: Path, keep_going: bool) -> None:
    """By the file's own CRC-32, which torch never compares; without them the bit goes unseen."""
    path, target = tmp_path / "replay_buffer_0.pt", tmp_path / "out.mct"
    torch.save(buffer(2, 3), path)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(next(n for n in archive.namelist() if n.endswith("data/1")))
    data = bytearray(path.read_bytes())
    (name, extra) = (int.from_bytes(data[member.header_offset + at :][:2], "little") for at in (26, 28))
    data[member.header_offset + 30 + name + extra] ^= 1
    path.write_bytes(data)
    options = ConvertOptions(keep_going=keep_going)
    if keep_going:
        assert convert(path, target, options) == 1
        return
    with pytest.raises(CorruptError, match="trajectory 0: timestep 0, tensor 1: CRC-32 must be"):
        convert(path, target, options)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("step", [[torch.ones(1)], []], ids=["tensor", "nothing"])
def test_list_that_holds_another_many_times_over_does_not_hang(tmp_path: Path, step: list[object]) -> None:
    """Many references to a list of many: refused by count, here and on torch's way."""
    path = tmp_path / "replay_buffer_0.pt"
    steps = [step] * 100_000
    torch.save([steps] * 100_000, path)
    with pytest.raises(zipped.Unusual):
        zipped.read(path)
    with pytest.raises(TrajfmtError, match="more often than its length allows"):
        ReplayPart(path).open(tmp_path)


def test_names_are_never_looked_up(tmp_path: Path) -> None:
    """A pickle that names a function is not plain, whatever it would do with it."""
    path = tmp_path / "replay_buffer_0.pt"
    torch.save(buffer(1, 2), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            evil = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."
            archive.writestr(name, evil if name.endswith("data.pkl") else data)
    assert evil[:2] == pickle.PROTO + b"\x02"
    with pytest.raises(zipped.Unusual):
        zipped.read(path)


def test_both_ways_agree(tmp_path: Path) -> None:
    """The same file through torch gives the same shapes, dtype and weights."""
    path = tmp_path / "replay_buffer_0.pt"
    torch.save(buffer(), path)
    for ours, theirs in zip(
        zipped.read(path), (TensorTrajectory(item, path) for item in torch.load(path)), strict=True
    ):
        assert (ours.shapes, ours.dtype, ours.timesteps) == (theirs.shapes, theirs.dtype, theirs.timesteps)
        assert ours.read(2, 4)[:].tobytes() == theirs.read(2, 4).tobytes()


def rewritten(path: Path, *, pickled: tuple[bytes, bytes] = (b"", b""), **extra: bytes) -> None:
    """Save a small buffer, then replace a part of its pickle once, and add members (`_` for `/`)."""
    torch.save([[[torch.arange(6.0).view(2, 3)], [torch.ones(2, 3)]]], path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(parts)).partition("/")[0]
    before, after = pickled
    assert before in parts[f"{root}/data.pkl"]
    parts[f"{root}/data.pkl"] = parts[f"{root}/data.pkl"].replace(before, after, 1)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (
            parts | {f"{root}/{name.replace('_', '/')}": extra[name] for name in extra}
        ).items():
            archive.writestr(name, data)


OTHER = b"\0" * 24


@pytest.mark.parametrize(
    ("pickled", "extra"),
    [
        ((b"", b""), {"data_" + "1" * 5000: OTHER}),
        ((b"", b""), {"DATA_0": OTHER}),
        ((b"X\x01\0\0\x000", b"X\x02\0\0\x0000"), {"data_00": OTHER}),
        ((b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fX\x03\0\0\0abc\x86"), {}),
        ((b"]q\x02", b"]q\x00"), {}),
        ((b"X\x01\0\0\x000", b"X\xff\xff\xff\xff0"), {}),
    ],
    ids=["number of 5000 digits", "other case", "zeros in front", "text as size", "memo again", "too long"],
)
def test_what_torch_never_writes_is_left_to_it(
    tmp_path: Path, pickled: tuple[bytes, bytes], extra: dict[str, bytes]
) -> None:
    """Where torch would read another member, or this reader could fail or take all memory."""
    path = tmp_path / "replay_buffer_0.pt"
    if pickled[1].startswith(b"J"):  # the stride must agree with the size to get so far
        pickled = (b"K\x02K\x03\x86q\tK\x03K\x01\x86", pickled[1] + b"q\tX\x03\0\0\0abcK\x01\x86")
    rewritten(path, pickled=pickled, **extra)
    with pytest.raises(zipped.Unusual):
        zipped.read(path)
