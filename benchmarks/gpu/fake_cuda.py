"""Parts of an outer step on CUDA tensors without a GPU: do they mix devices, or make the host wait?

torch computes with fake tensors, which have a shape, a type and a device but no values. So the inner loop
with its augmentation, the matching and the update of the images run as they do on a GPU, and every operation
is looked at. The guard refuses

* operations with tensors on both devices, whatever their sizes, also in lists such as indices;
* operations that turn a CUDA tensor into a CPU tensor;
* operations that make the host wait for a value: `item`, `bool`, `tolist`, `nonzero`, a mask as an index;
* in the inner loop with its augmentation, copies of a CPU tensor to the device, which are allowed elsewhere.

Calls of CUDA itself, such as `torch.cuda.synchronize`, fail too. The guard does not detect printing, nor
waits inside a kernel. The cases leave out what needs autograd's engine, which rejects fake CUDA tensors:
the backward pass through the augmentation, and networks other than the ConvNet. They also leave out the
intended waits: computing the distance between start and target before the inner loop, and reading loss and
gradients after it.

    python benchmarks/gpu/fake_cuda.py

needs a build of torch for CUDA, but neither a driver nor a GPU; it exits with 0 if every case passed.
"""

from __future__ import annotations

import itertools
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import trajfmt
from mct.data.augment import DSA
from mct.data.batches import Batches
from mct.distillation import optimizer
from mct.distillation.state import State
from mct.inner.problem import Problem, minibatches, targets_of
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.steps.narrow import NarrowStep
from mct.inner.unroll import ExactUnroll, Gradients, TeslaUnroll
from mct.methods.recipe import updates_of
from mct.models import networks
from mct.objectives.matching import Matcher
from mct.objectives.objective import LossAndAdjoint
from mct.results.origin import Origin
from mct.results.synthetic import SyntheticDataset
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig
from mct.trajectories.position import Position, knots_of, ranges_of
from mct.trajectories.stream import Sample

PACKAGE = Path(networks.__file__).parent
FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")
NORMS, POOLINGS = ("instance", "batch", "layer", "group", "none"), ("avg", "max", "none")
KINDS = {"exact": ExactUnroll, "tesla": TeslaUnroll}
WAYS = {"recomputed": {}, "kept": {"keep_bytes": 1 << 40}, "in parts": {"step_images": 2}}
SHAPE, CLASSES = (7, 3, 10, 10), 10  # the second pooling leaves out a row and a column
BATCH, UPDATES = 3, 2  # the first batch has one image

aten = torch.ops.aten


class RefusedError(Exception):
    """Says which operation is refused, and why."""


class Guard(TorchDispatchMode):
    """Looks at every operation; `halves` counts those of inner loops."""

    halves, _inside = 0, False

    def inner_loop(self, half: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call half of an inner loop."""
        self.halves, self._inside = self.halves + 1, True
        found = half(*args, **options)
        self._inside = False
        return found

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _devices((args, kwargs))
        if len(given) > 1 and not (func is aten.copy_.default and args[0].is_cuda):
            raise RefusedError(f"{func} has CPU and CUDA tensors")
        if "cuda" in given and _needs_values(func, args):
            raise RefusedError(f"{func} waits for the device")
        found = func(*args, **(kwargs or {}))
        if len(given | _devices(found)) > 1:
            if "cpu" not in given:
                raise RefusedError(f"{func} makes a CPU tensor of a CUDA tensor")
            if self._inside:
                raise RefusedError(f"{func} copies to the device in the inner loop")
        return found


def _devices(values: Any) -> set[str]:
    return {value.device.type for value in tree_leaves(values) if isinstance(value, Tensor)}


def _needs_values(func: Any, args: Any) -> bool:
    """Return whether the result, or its shape, depends on values of tensors."""
    if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
        return any(index.dtype in (torch.bool, torch.uint8) for index in args[1] if index is not None)
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))


Case = Callable[[Guard], object]
"""What runs on fake tensors. Random numbers, which are always drawn on the CPU, are drawn before."""


def build(norm: str = "instance", pooling: str = "avg") -> nn.Module:
    facts = {"channels": SHAPE[1], "image_size": SHAPE[2], "norm": norm, "pooling": pooling}
    model = trajfmt.Model(family="ConvNet", depth=2, width=8, classes=CLASSES, **facts)
    return networks.build(model, generator=generator(0))


def cuda(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device="cuda")


def problem(network: nn.Module, families: Sequence[str] = ()) -> Callable[[], Problem]:
    """Return what makes a problem, whose batches are augmented by families in turn."""
    random = generator(0)
    batches = minibatches(SHAPE[0], BATCH, UPDATES, random)
    turns = zip(batches, itertools.cycle(families), strict=False)
    draws = [DSA(family).draw(len(batch), SHAPE[2], random) for batch, family in turns] or None
    return lambda: Problem(
        weights=cuda(sum(value.numel() for value in network.parameters())),
        images=cuda(*SHAPE),
        targets=targets_of(cuda(SHAPE[0], dtype=torch.int64), CLASSES, torch.float32),
        learning_rate=0.01,
        batches=[batch.to("cuda") for batch in batches],
        augment=draws and DSA(),
        draws=draws and [each.to("cuda") for each in draws],
    )


def inner_loop(unroll: ExactUnroll, given: Callable[[], Problem], guard: Guard) -> None:
    now = given()

    def finish(_match: LossAndAdjoint, inner: Tensor, source: Batches) -> Gradients:
        images = source.close() if now.augment is None else inner  # autograd would be needed
        return Gradients(loss=0.0, images=images, learning_rate=0.0)

    unroll.forward = partial(guard.inner_loop, unroll.forward)
    unroll.adjoint = partial(guard.inner_loop, unroll.adjoint)
    unroll.finish = finish
    unroll.gradients(now, lambda final: LossAndAdjoint(cuda(dtype=torch.float64), final.clone()))
    if guard.halves != 2:
        raise RefusedError(f"{guard.halves} halves of an inner loop were run instead of 2")


def augmentation(given: Callable[[], Problem], _guard: Guard) -> None:
    now = given()
    for options in ({"whole": True}, {"budget": 1}):  # all batches at once, or one at a time
        source = Batches(now.images, now.batches, now.augment, now.draws, **options)
        for number in range(UPDATES):
            source.pixels(number)


def matching(places: Sequence[tuple[int, float]], _guard: Guard) -> None:
    """Compare with a target that has its ten layers, in turn, at (segment, weight)."""
    turns = itertools.islice(itertools.cycle(places), 10)
    segment, weight = (np.array(column) for column in zip(*turns, strict=True))
    ranges = ranges_of([(8 * layer, 8 * layer + 8, layer) for layer in range(10)], segment, weight)
    knots = {number: cuda(80) for number in knots_of(ranges)}
    target = Position(trajectory=0, time=1.5, segment=segment, weight=weight, ranges=ranges, knots=knots)
    sample = Sample(start=target, weights=cuda(80), target=target)
    matcher = Matcher(None)
    matcher.squared_distance = lambda _start, _target: 2.0  # D, which would be read from the knots
    matcher.compare(cuda(80), sample, out=matcher.compare(cuda(80), sample).adjoint)


def update(_guard: Guard) -> None:
    origin = Origin(**dict.fromkeys(field.name for field in fields(Origin)) | {"outer_step": 0})
    now = SyntheticDataset(images=cuda(*SHAPE), labels=cuda(SHAPE[0]), learning_rate=0.01, origin=origin)
    state = State(
        synthetic=now,
        memory={"images": {"velocity": cuda(*SHAPE)}, "learning_rate": {"velocity": 0.0}},
        random=torch.zeros(0),
    )
    optimizer.update(
        state,
        Gradients(loss=1.0, images=cuda(*SHAPE), learning_rate=0.1),
        updates_of(DistillConfig()),
    )


def refusing(guard: Guard) -> None:
    """Fail unless the guard refuses what it should."""
    for work in (Tensor.cpu, Tensor.item, Tensor.nonzero, torch.zeros(1).add, torch.zeros(1).type_as):
        try:
            guard.inner_loop(work, cuda(1))
        except RefusedError:
            continue
        raise RefusedError(f"{work.__name__} was not refused")


def cases() -> Iterator[tuple[str, Case]]:
    yield "guard: refuses", refusing
    for norm, pooling, narrow in itertools.product(NORMS, POOLINGS, (False, True)):
        network = build(norm, pooling)
        step = NarrowStep(ConvNetStep(network)) if narrow else ConvNetStep(network)
        for kind, way in itertools.product(KINDS, WAYS):
            if norm != "batch" or way != "in parts":  # batch norm joins the images
                name = f"norm {norm}, pooling {pooling}, {kind}, {way}{', bfloat16' * narrow}"
                case = partial(inner_loop, KINDS[kind](step, **WAYS[way]), problem(network))
                yield f"inner loop: {name}", case
    network = build()
    for families in ((), *((family,) for family in FAMILIES), ("color", "rotate")):
        name, given = " and ".join(families) or "none", problem(network, families)
        unroll = ExactUnroll(ConvNetStep(network))
        yield f"augmentation: {name}, alone", partial(augmentation, given)
        yield f"augmentation: {name}, in the inner loop", partial(inner_loop, unroll, given)
    few, many = 4 * [(0, 0.5)] + 3 * [(1, 0.2)] + 3 * [(0, 1.0)], [(0, 0.5), (1, 0.2), (0, 1.0)]
    yield "matching: target at a knot", partial(matching, [(1, 0.0)])
    yield "matching: target between two knots", partial(matching, [(1, 0.5)])
    yield "matching: target of three runs", partial(matching, few)
    yield "matching: target of ten runs", partial(matching, many)
    yield "optimizer: update", update


def trouble(run: Case) -> str | None:
    """Run a case, and return in one line what is wrong."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), Guard() as guard:
            run(guard)
    except Exception as exc:
        frames = traceback.extract_tb(exc.__traceback__)
        at = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)] or frames
        where = f"{os.path.relpath(at[-1].filename, PACKAGE.parent)}:{at[-1].lineno}"
        kind = "" if isinstance(exc, RefusedError) else f"{type(exc).__name__}: "
        return f"{where}: {kind}{next(iter(str(exc).splitlines()), '')}: {at[-1].line}"
    return None


def main() -> int:
    if not torch.backends.cuda.is_built():
        print(f"fake CUDA tensors need a build of torch for CUDA, this is {torch.__version__}")
        return 2
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the same on a machine with a GPU
    torch.backends.cudnn.enabled = False  # grid_sample asks whether there is one, and that the driver
    began, failed = time.perf_counter(), []
    for name, run in cases():
        wrong = trouble(run)
        failed.append(wrong is not None)
        print(f"FAILED  {name}: {wrong}" if wrong else f"ok      {name}", flush=True)
    print(f"{failed.count(False)} of {len(failed)} cases passed in {time.perf_counter() - began:.0f} s")
    return int(any(failed))


if __name__ == "__main__":
    raise SystemExit(main())
