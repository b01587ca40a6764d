"""Knots stored in 16 bits: loaded as float32, exactly, so that distilling is that of the same F32 weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.errors import MismatchError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from mct.trajectories.loading import KnotLoader, _bits, loaded_bytes  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import random_walk  # noqa: E402
from trajfmt.schema.layout import DTYPES  # noqa: E402
from trajfmt.torch import from_readonly  # noqa: E402

NARROW = ["BF16", "F16"]
CONFIG = DistillConfig(ipc=1, inner_steps=3, expert_steps=2, max_start=3, outer_steps=3, lr_img=10,
                       lr_lr=1e-4, lr_init=0.02, batch_syn=4)  # fmt: skip


@pytest.fixture
def bundles(
    network: networks.ConvNet, tmp_path: Path
) -> Callable[..., tuple[trajfmt.Bundle, trajfmt.Bundle]]:
    """Return a function that writes the same rounded weights twice: in a 16-bit type, and in F32."""

    def write(dtype: str, encoding: str = "convex") -> tuple[trajfmt.Bundle, trajfmt.Bundle]:
        layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
        walks = [(0.1 * random_walk(layout, 6, seed)).astype(DTYPES[dtype]) for seed in range(2)]
        knots: dict[str, Any] = {"knots": (2,)} if encoding == "convex" else {}
        for name in (dtype, "F32"):
            path, own = tmp_path / name, layout.cast(name)
            with trajfmt.create(path, own, encoding=encoding, **knots) as writer:
                for theta in walks:
                    writer.add(trajfmt.ArrayTrajectory(theta.astype(own.numpy_dtype), own))
        return trajfmt.open(tmp_path / dtype), trajfmt.open(tmp_path / "F32")

    return write


@pytest.mark.parametrize("dtype", NARROW)
def test_from_readonly_has_the_same_numbers(dtype: str) -> None:
    """A 16-bit array becomes a tensor of the same type and memory."""
    array = np.linspace(-3, 3, 50).astype(DTYPES[dtype])
    tensor = from_readonly(array)
    assert tensor.dtype == {"BF16": torch.bfloat16, "F16": torch.float16}[dtype]
    assert tensor.data_ptr() == array.ctypes.data
    np.testing.assert_array_equal(tensor.float().numpy(), array.astype(np.float32))


@pytest.mark.parametrize("dtype", [*NARROW, "F32"])
def test_staged_bits_are_the_knots(dtype: str) -> None:
    """On the way to CUDA numpy copies a knot: as bits where it lacks the type, and back without a change."""
    weights = from_readonly(np.linspace(-3, 3, 50).astype(DTYPES[dtype]))
    staged = torch.empty_like(_bits(weights))
    np.copyto(staged.numpy(), _bits(weights).numpy())
    assert torch.equal(staged.view(weights.dtype), weights)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", NARROW)
def test_knots_on_cuda_are_float32(bundles: Any, dtype: str, cuda: torch.device) -> None:
    """The same numbers as on the CPU."""
    narrow, wide = bundles(dtype)
    loader = KnotLoader(lambda key: narrow[key[0]].knot(key[1]), arrange=None, device=cuda)
    weights = loader.load((0, 1)).on_stream()
    assert weights.dtype == torch.float32
    np.testing.assert_array_equal(weights.cpu().numpy(), wide[0].knot(1))


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("dtype", NARROW)
def test_knots_are_float32_when_they_are_held(bundles: Any, dtype: str, ahead: bool) -> None:
    """Loading widens exactly, ahead or not, before the arranging; the knot is then no view of the file."""
    narrow, wide = bundles(dtype)
    for bundle in (narrow, wide):
        loader = KnotLoader(lambda key, b=bundle: b[key[0]].knot(key[1]), arrange=lambda w: w.flip(0),
                        device=torch.device("cpu"))  # fmt: skip
        knot = loader.load((0, 1), ahead=ahead).finished()
        assert knot.weights.dtype == torch.float32
        expected = wide[0].knot(1)[::-1]
        np.testing.assert_array_equal(knot.weights.numpy(), expected)
        assert not knot.mapped


@pytest.mark.parametrize("dtype", NARROW)
def test_budget_counts_the_bytes_that_are_held(bundles: Any, dtype: str) -> None:
    """Four bytes a parameter, whatever the file stores."""
    narrow, wide = bundles(dtype)
    assert loaded_bytes(narrow.layout) == loaded_bytes(wide.layout) == 2 * narrow.layout.nbytes
    stream = KnotStream(narrow, expert_steps=2, max_start=3)
    stream.knot(0, 0)
    assert stream._knots.nbytes == 4 * narrow.layout.size


@pytest.mark.parametrize("encoding", ["convex", "full"])
@pytest.mark.parametrize("dtype", NARROW)
def test_distilling_is_that_of_the_rounded_weights_in_f32(
    bundles: Any, digits: Dataset, model: trajfmt.Model, dtype: str, encoding: str
) -> None:
    """Images, step size and losses are equal bit for bit."""
    found = []
    for bundle in bundles(dtype, encoding):
        distiller = Distiller(bundle, digits, model, CONFIG, artifact_sha256="ab" * 32)
        state, losses = distiller.initial(), []
        for _ in range(3):
            state, event = distiller.step(state)
            losses.append(event.loss)
        found.append((state, losses))
    (narrow, losses), (wide, others) = found
    assert losses == others
    assert torch.equal(narrow.synthetic.images, wide.synthetic.images)
    assert narrow.synthetic.learning_rate == wide.synthetic.learning_rate
    assert torch.equal(*(each.memory["images"]["velocity"] for each in (narrow, wide)))


def test_float64_is_still_refused(
    network: networks.ConvNet, digits: Dataset, model: trajfmt.Model, tmp_path: Path
) -> None:
    """Students compute in float32: the line names the option that converts."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network), dtype="F64")
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        writer.add(trajfmt.ArrayTrajectory(random_walk(layout, 6, dtype="float64"), layout))
    with pytest.raises(MismatchError, match="--dtype f32"):
        Distiller(trajfmt.open(tmp_path / "a.mct"), digits, model, CONFIG, artifact_sha256="ab" * 32)
