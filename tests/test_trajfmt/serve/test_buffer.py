"""`load_buffer`: a bundle as the list that `torch.load` gave MTT's family."""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import MissingError, NotABundleError, ParamLayout, UsageError

torch = pytest.importorskip("torch")

import trajfmt.torch  # noqa: E402  # needs torch
from tests.helpers.folders import contents  # noqa: E402
from tests.helpers.tensors import flat  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.torch import load_buffer  # noqa: E402

Array = NDArray[np.generic]
SHAPES = [(2, 3), (2,), ()]


def test_items_are_lists_of_tensors_with_the_stored_weights(served: Path) -> None:
    """Outer list, steps and tensors are real ones; weights are those of `at`, bit for bit."""
    buffer = load_buffer(served)
    assert type(buffer) is list
    with trajfmt.open(served) as bundle:
        assert [len(trajectory) for trajectory in buffer] == [item.timesteps for item in bundle]
        for trajectory, item in zip(buffer, bundle, strict=True):
            for t, step in enumerate(trajectory):
                assert type(step) is list
                assert all(type(tensor) is torch.Tensor for tensor in step)
                assert [tuple(tensor.shape) for tensor in step] == SHAPES
                assert flat(step) == item.at(t).tobytes()


def test_a_saved_step_holds_its_tensors_and_nothing_else(tmp_path: Path) -> None:
    """Every tensor's storage is as large as the tensor, so that torch.save writes no map."""
    wide = ParamLayout.of([("a", (300, 10)), ("b", (5,))])
    theta = np.random.default_rng(0).standard_normal((4, wide.size)).astype(np.float32)
    for name, encoding in (("a.mtt", "full"), ("a.mct", "convex")):
        with trajfmt.create(tmp_path / name, wide, encoding=encoding) as writer:  # type: ignore[arg-type]
            writer.add(trajfmt.ArrayTrajectory(theta, wide))
        step = load_buffer(tmp_path / name)[0][1]
        assert [x.untyped_storage().nbytes() for x in step] == [12000, 20]
        assert all(x.is_contiguous() and x.storage_offset() == 0 for x in step)
        file = io.BytesIO()
        torch.save(step[1], file)
        assert file.tell() < 4000


def test_edits_in_place_reach_neither_the_file_nor_the_next_item(served: Path) -> None:
    """`p += noise`, `zero_`, and a write through numpy: no crash, the same bytes on disk, fresh items."""
    before = contents(served)
    buffer = load_buffer(served)
    kept = flat(buffer[0][1])
    step = buffer[0][1]
    for tensor in step:
        tensor += torch.randn_like(tensor) * tensor.abs()
        tensor.zero_()
        tensor.numpy()[...] = 7
    assert flat(buffer[0][1]) == kept
    assert set(torch.cat([tensor.reshape(-1) for tensor in step]).tolist()) == {7.0}
    assert contents(served) == before


def test_the_outer_list_is_one_like_any_other(served: Path) -> None:
    """Shuffling, adding from both sides, slicing, deleting."""
    buffer = load_buffer(served)
    first = flat(buffer[0][0])
    assert len([] + buffer) == len(buffer + []) == 4  # noqa: RUF005  # as MTT's code does it
    assert len(buffer + load_buffer(served)) == 8
    assert [flat(t[0]) for t in buffer[:1]] == [first]
    random.Random(1).shuffle(buffer)
    assert sorted(len(t) for t in buffer) == [6, 6, 7, 7]
    del buffer[0]
    assert len(buffer) == 3


def test_a_trajectory_is_like_a_list(served: Path) -> None:
    """Indices from both ends, slices, iteration, `+`, insertion, and what a list refuses."""
    trajectory = load_buffer(served)[0]
    steps = [flat(step) for step in trajectory]
    assert flat(trajectory[-1]) == steps[5]
    assert flat(trajectory[np.int64(2)]) == steps[2]
    assert [flat(step) for step in trajectory[1:4]] == steps[1:4]
    assert [flat(step) for step in trajectory[::-2]] == steps[::-2]
    assert [flat(step) for step in reversed(trajectory)] == steps[::-1]
    assert [flat(step) for step in trajectory + trajectory[:1]] == [*steps, steps[0]]
    assert [flat(step) for step in [trajectory[3]] + trajectory[1:2]] == [steps[3], steps[1]]  # noqa: RUF005
    assert len(trajectory[4:]) == 2
    assert trajectory[2][:-2][0].shape == (2, 3)
    trajectory.insert(0, trajectory[5])
    assert [flat(step) for step in trajectory] == [steps[5], *steps]
    for index in (7, -8):
        with pytest.raises(IndexError):
            trajectory[index]
    with pytest.raises(TypeError):
        trajectory["0"]  # type: ignore[call-overload]


def test_assignment_is_kept_as_in_a_list(served: Path) -> None:
    """`trajectory[idx] = mean(...)`, as the MCT authors' converter does, from both ends; the file stays."""
    before = contents(served)
    buffer = load_buffer(served)
    mean = [torch.div(a + b, 2) for a, b in zip(buffer[0][1], buffer[0][3], strict=True)]
    buffer[0][2] = mean
    buffer[0][-1] = mean
    assert buffer[0][2] is mean
    assert buffer[0][5] is mean
    assert buffer[0][1:][1] is mean
    assert flat(load_buffer(served)[0][2]) != flat(mean)
    assert contents(served) == before


def test_a_copy_is_a_list_of_its_own(served: Path) -> None:
    """Deleting from a shallow copy leaves the original as it was, as with lists."""
    trajectory = load_buffer(served)[0]
    for again in (copy.copy(trajectory), trajectory.copy()):
        del again[0]
        again[0] = [torch.ones(1)]
        assert flat(again[1]) == flat(trajectory[2])
    assert len(trajectory) == 6
    assert flat(trajectory[1]) == flat(load_buffer(served)[0][1])


def test_copies_and_workers_get_the_same(served: Path) -> None:
    """Pickled, deep-copied, assigned steps included; a DataLoader with workers reads it."""
    buffer = load_buffer(served)
    buffer[1][0] = [torch.ones(1)]
    for again in (pickle.loads(pickle.dumps(buffer)), copy.deepcopy(buffer)):
        assert again[1][0][0].tolist() == [1.0]
        assert [flat(step) for step in again[2]] == [flat(step) for step in buffer[2]]
    loader = torch.utils.data.DataLoader(
        [t[1] for t in buffer[:2]], num_workers=1, batch_size=None, multiprocessing_context="fork"
    )
    assert [flat(step) for step in loader] == [flat(t[1]) for t in buffer[:2]]
    lazy = torch.utils.data.DataLoader(
        buffer[2],
        num_workers=1,
        batch_size=None,
        multiprocessing_context="spawn",
    )
    assert [flat(step) for step in lazy] == [flat(step) for step in buffer[2]]


def test_more_timesteps_than_descriptors(tmp_path: Path, layout: ParamLayout, python: Any) -> None:
    """All items of a long trajectory at once, where a process may open 200 files."""
    theta = np.random.default_rng(0).standard_normal((900, layout.size)).astype(np.float32)
    with trajfmt.create(tmp_path / "long.mtt", layout, encoding="full") as writer:
        writer.add(trajfmt.ArrayTrajectory(theta, layout))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200));"
        "from trajfmt.torch import load_buffer; (t,) = load_buffer(sys.argv[1]); steps = list(t);"
        "open(sys.argv[1] + '/manifest.json').close(); print(len(steps), float(steps[899][0][0, 0]))"
    )
    count, value = python(code, tmp_path / "long.mtt").split()
    assert (int(count), float(value)) == (900, float(theta[899, 0]))


def test_tensors_outlive_the_list(served: Path) -> None:
    """A step is still there when trajectory, buffer and bundle are gone."""
    with trajfmt.open(served) as bundle:
        expected = bundle[3].at(2).tobytes()
    step = load_buffer(served)[3][2]
    assert flat(step) == expected


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_tensors_have_the_stored_type_or_the_one_asked_for(
    dtype: str, thetas: list[Array], layout: ParamLayout, tmp_path: Path
) -> None:
    """From full and convexified bundles; float32 of 16-bit weights is exact."""
    other = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype=dtype)  # type: ignore[arg-type]
    theta = thetas[0].astype(other.numpy_dtype)
    kind = {"F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}[dtype]
    for name, encoding in (("a.mtt", "full"), ("a.mct", "convex")):
        with trajfmt.create(tmp_path / name, other, encoding=encoding) as writer:  # type: ignore[arg-type]
            writer.add(trajfmt.ArrayTrajectory(theta, other))
        step = load_buffer(tmp_path / name)[0][5]
        assert {tensor.dtype for tensor in step} == {kind}
        expected = theta[5].astype(np.float32)
        assert torch.equal(torch.cat([x.float().reshape(-1) for x in step]), torch.from_numpy(expected))
        step[0].mul_(0)
        single = load_buffer(tmp_path / name, dtype=torch.float32)[0][5]
        assert {tensor.dtype for tensor in single} == {torch.float32}
        assert torch.equal(torch.cat([x.reshape(-1) for x in single]), torch.from_numpy(expected))


@pytest.mark.parametrize("encoding", ["full", "convex"])
def test_a_part_is_the_parameters_of_one_tower(encoding: str, tmp_path: Path) -> None:
    """`part="text"` gives its tensors only; another name is one line that says which there are."""
    towers = ParamLayout.of([("image.w", (2, 2)), ("image.b", (2,)), ("text.w", (3,)), ("text.b", ())])
    theta = np.random.default_rng(0).standard_normal((3, towers.size)).astype(np.float32)
    path = tmp_path / ("a.mtt" if encoding == "full" else "a.mct")
    with trajfmt.create(path, towers, encoding=encoding) as writer:  # type: ignore[arg-type]
        writer.add(trajfmt.ArrayTrajectory(theta, towers))
    image, text = (load_buffer(path, part=name)[0][2] for name in ("image", "text"))
    assert [tuple(x.shape) for x in image] == [(2, 2), (2,)]
    assert [tuple(x.shape) for x in text] == [(3,), ()]
    assert flat(image) + flat(text) == theta[2].tobytes()
    with pytest.raises(UsageError, match=r"no part 'txt'; its parameters belong to image, text"):
        load_buffer(path, part="txt")


def test_what_is_no_bundle_is_one_clear_error(tmp_path: Path) -> None:
    """A buffer of tensors, text, a folder, nothing."""
    torch.save([[[torch.ones(1)]]], tmp_path / "replay_buffer_0.pt")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    for name in ("replay_buffer_0.pt", "notes.txt", "empty"):
        with pytest.raises(NotABundleError, match=r"must be a bundle .* or a stub"):
            load_buffer(tmp_path / name)
    with pytest.raises(NotABundleError):
        load_buffer(tmp_path)
    with pytest.raises(MissingError):
        load_buffer(tmp_path / "nothing")


def test_load_is_torch_load_for_everything_else(tmp_path: Path, served: Path) -> None:
    """Files of tensors, open files, options and errors as before; a bundle is served."""
    load = trajfmt.torch.load
    value = [torch.ones(2), {"a": 1}]
    torch.save(value, tmp_path / "plain.pt")
    assert load(tmp_path / "plain.pt")[1] == {"a": 1}
    assert load(str(tmp_path / "plain.pt"), "cpu", weights_only=True)[1] == {"a": 1}
    with (tmp_path / "plain.pt").open("rb") as file:
        assert load(file, map_location="cpu")[0].tolist() == [1, 1]
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.pt")
    assert len(load(served, map_location="cpu", weights_only=False)) == 4
    with pytest.raises(UsageError, match="map_location='cuda'"):
        load(served, map_location="cuda")


def test_first_trajectory_is_read_alone(tmp_path: Path, python: Callable[..., str]) -> None:
    """Of 60 MB, a draw of two timesteps brings 2 MB into memory."""
    wide = ParamLayout.of([("a", (250_000,))])
    theta = np.random.default_rng(0).standard_normal((20, wide.size)).astype(np.float32)
    with trajfmt.create(tmp_path / "a.mtt", wide, encoding="full") as writer:
        for seed in range(3):
            writer.add(trajfmt.ArrayTrajectory(theta + np.float32(seed), wide))
    code = """
import sys, torch
from trajfmt.torch import load_buffer
def pages():
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith(("RssAnon", "RssFile")))
torch.ones(2, 3).sum()
load_buffer(sys.argv[1])
before = pages()
buffer = load_buffer(sys.argv[1])
steps = [buffer[1][3], buffer[1][7]]
print(sum(float(step[0].sum()) for step in steps), pages() - before)
"""
    _, grown = python(code, tmp_path / "a.mtt").split()
    assert int(grown) < 8000


def test_convert_reads_what_is_served(thetas: list[Array], layout: ParamLayout, tmp_path: Path) -> None:
    """Saving a served buffer with torch.save and converting it again gives the same bundle's weights."""
    with trajfmt.create(tmp_path / "a.mtt", layout, encoding="full") as writer:
        for theta in thetas:
            writer.add(trajfmt.ArrayTrajectory(theta, layout))
    (tmp_path / "buffer").mkdir()
    plain = [list(trajectory) for trajectory in load_buffer(tmp_path / "a.mtt")]
    torch.save(plain, tmp_path / "buffer" / "replay_buffer_0.pt")
    convert(tmp_path / "buffer", tmp_path / "b.mtt", ConvertOptions())
    with trajfmt.open(tmp_path / "b.mtt") as bundle:
        for item, theta in zip(bundle, thetas, strict=True):
            assert b"".join(item.at(t).tobytes() for t in range(item.timesteps)) == theta.tobytes()
