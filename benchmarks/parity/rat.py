"""Parity with RaT-BPTT's code: whole outer steps of its own training loop beside ours, on the same draws.

Get the references beside this repository, they are not part of it:

    git clone https://github.com/fengyzpku/Simple_Dataset_Distillation RaT
    git clone https://github.com/facebookresearch/higher

    python benchmarks/parity/rat.py --rat RaT --higher higher

`train` of framework/base.py runs as it is for one pass of six outer steps, in float64 on a CPU, with
`Distill` of framework/distill_higher.py and its networks: the prefix without gradient, the window through
`higher`, the loss on a real batch, clipping, the outer Adam, and labels kept non-negative. Both sides go on
from their own results, so that the errors of the images are those after six updates. Their code draws the
synthetic images of every inner step, which ours is given; initial weights, real batches and augmentation are
drawn by ours, and theirs are given them. Their augmentation and their whitening are compared separately.

One number is changed: torch's Adam counts its steps in float32, and `higher` goes on with bias corrections of
that precision, which moves their losses by 1e-7. Here the count is a whole number after the prefix.

Takes a minute. The exit code is 1 if a line fails.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import rat_ours
import reference
import torch
from methods import commit_of
from table import Line, Lines, relative
from torch import Tensor, nn

import trajfmt
from mct.data import preprocessing, record
from mct.data.augment import DSA, Draws

T, WINDOW = 8, 3
WIDTH = 16
RATE = 1e-3


@contextmanager
def imported(rat: Path, higher: Path) -> Iterator[dict[str, ModuleType]]:
    """Import their modules; what they use of a GPU, of files and of data sets is replaced."""
    stubs: dict[str, Any] = {name: reference._Stub(name) for name in ("torch_optimizer", "wandb", "h5py")}
    stubs["framework.config"] = reference._Stub("framework.config")
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path[:0] = [str(rat), str(higher)]

    def here(value: Any, *_: Any, **__: Any) -> Any:
        return value

    names = ("framework.distill_higher", "framework.base", "framework.util", "framework.convnet")
    try:
        with (
            mock.patch.dict(sys.modules, stubs),
            mock.patch.object(Tensor, "cuda", here),
            mock.patch.object(nn.Module, "cuda", here),
        ):
            yield {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    finally:
        del sys.path[:2]
        sys.dont_write_bytecode = bytecode
        for name in [name for name in sys.modules if name.split(".")[0] in ("framework", "higher")]:
            del sys.modules[name]


@dataclass(frozen=True)
class Theirs:
    """What one pass of their training left."""

    losses: list[float] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    """Of the images, before clipping."""

    clipped: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)
    """Gradients of the labels."""

    picked: list[list[Tensor]] = field(default_factory=list)
    """For each outer step the images of every inner step."""

    values: list[Tensor] = field(default_factory=list)
    """Images, and labels if they are learned, at the end."""


class Wrapped(nn.Module):
    """In place of `DataParallel`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Any:
        """Return what the module does."""
        return self.module(pixels)


def theirs(modules: dict[str, ModuleType], case: rat_ours.Case, scenes: list[rat_ours.Given]) -> Theirs:
    """Run their training loop for one pass over the real batches of `scenes`."""
    found, weights = Theirs(), iter(given.weights for given in scenes)

    def network(*_: Any) -> nn.Module:
        made: nn.Module = (
            modules["convnet"]
            .ConvNet(
                3,
                case.classes,
                WIDTH,
                2,
                "relu",
                "instancenorm",
                "avgpooling",
                im_size=(case.side, case.side),
            )
            .double()
        )
        if started:
            nn.utils.vector_to_parameters(next(weights).clone(), made.parameters())
        return made

    started: list[bool] = []
    augmenting: list[Iterator[Draws]] = []

    def syn(pixels: Tensor, **_: Any) -> Tensor:
        return DSA(case.augment).apply(pixels, next(augmenting[-1]))

    def real(pixels: Tensor, **_: Any) -> Tensor:
        given = scenes[len(found.picked) - 1]
        return pixels if given.real_draws is None else DSA(case.augment).apply(pixels, given.real_draws)

    module = modules["distill_higher"]
    inner_loop = module.higher.innerloop_ctx

    def counted(network: nn.Module, optimizer: Any, **options: Any) -> Any:
        for state in optimizer.state.values():
            if "step" in state:
                state["step"] = int(state["step"])
        return inner_loop(network, optimizer, **options)

    with (
        mock.patch.object(module, "get_arch", network),
        mock.patch.object(module.higher, "innerloop_ctx", counted),
    ):
        labels = torch.eye(case.classes)[case.labels] if case.learned else case.labels
        model = module.Distill(
            case.images, labels, "convnet", case.window, RATE, 1, img_pc=case.ipc, batch_pc=case.batch_pc,
            num_classes=case.classes, task_sampler_nc=case.nc, train_y=case.learned, im_size=(case.side,) * 2,
            inner_optim=case.inner, syn_intervention=syn, real_intervention=real, cctype=2,
        ).double()  # fmt: skip
        model.data.weight.data = case.images.flatten(1).clone()
        model.dd_type = "curriculum"
        model.ema_init(0.9)
        started.append(True)
        forward = model.forward

        def outer(pixels: Tensor) -> Any:
            found.picked.append([])
            augmenting.append(iter(scenes[len(found.picked) - 1].draws))
            return forward(pixels)

        model.forward = outer
        model.data.register_forward_pre_hook(lambda _, given: found.picked[-1].append(given[0].clone()))
        groups = [{"params": model.data.weight}]
        if case.learned:
            groups.append({"params": model.label.weight, "lr": RATE})
        optimizer = torch.optim.Adam(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
        clip, step = torch.nn.utils.clip_grad_norm_, optimizer.step

        def clipped(value: Tensor, max_norm: float) -> Any:
            found.gradients.append(value.grad.clone())
            return clip(value, max_norm=max_norm)

        def stepped() -> None:
            found.clipped.append(model.data.weight.grad.clone())
            if case.learned:
                found.labels.append(model.label.weight.grad.clone())
            step()

        optimizer.step = stepped  # type: ignore[method-assign]
        measure = nn.CrossEntropyLoss()

        def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
            loss: Tensor = measure(outputs, targets)
            found.losses.append(float(loss.detach()))
            return loss

        args = SimpleNamespace(
            rank=0, window=case.window, minwindow=T - case.window, totwindow=T, mp_distributed=False,
            complete_random=False, train_y=case.learned, print_freq=1000,
        )  # fmt: skip
        loader = [(given.real, given.real_labels) for given in scenes]
        with (
            mock.patch.object(torch.nn.utils, "clip_grad_norm_", clipped),
            mock.patch("builtins.print"),
        ):
            modules["base"].train(
                loader, Wrapped(model), criterion, optimizer, 0, torch.device("cpu"), 0, args
            )
    found.values.append(model.data.weight.detach())
    if case.learned:
        found.values.append(model.label.weight.detach())
    return found


def check(modules: dict[str, ModuleType], case: rat_ours.Case) -> Lines:
    """Compare every outer step, and the values after the last."""
    torch.manual_seed(0)
    scenes = rat_ours.given(case)
    expected = theirs(modules, case, scenes)
    for engine in ("eager", "compiled"):
        found = rat_ours.outer_steps(case, scenes, expected.picked, engine)
        what = f"{case.what}, {engine}"
        losses = torch.tensor([each.loss for each in found.gradients])
        yield Line(f"{what}: losses", relative(losses, torch.tensor(expected.losses)), 1e-9)
        pairs = zip(found.gradients, expected.gradients, strict=True)
        worst = max(relative(a.images.flatten(1), b) for a, b in pairs)
        yield Line(f"{what}: image gradients", worst, 1e-9)
        if case.learned:
            rows = zip(found.gradients, expected.labels, strict=True)
            yield Line(f"{what}: label gradients", max(relative(a.targets, b) for a, b in rows), 1e-9)
        shortened = sum(
            not torch.equal(a, b) for a, b in zip(expected.gradients, expected.clipped, strict=True)
        )
        values = [found.state.synthetic.images.flatten(1)]
        if case.learned:
            values.append(found.state.synthetic.soft_labels)
        for name, a, b in zip(("images", "labels"), values, expected.values, strict=False):
            steps = f"after {len(scenes)} outer steps, {shortened} with clipped gradients"
            yield Line(f"{what}: {name} {steps}", relative(a, b), 1e-9)


def check_parts(modules: dict[str, ModuleType]) -> Lines:
    """Compare their augmentation with ours, and their whitening."""
    images = torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    intervention = modules["util"].ImageIntervention("syn_aug", "flip_rotate", phase="test")
    for family in ("flip", "rotate"):
        draws = DSA(family).draw(len(images), 16, torch.Generator().manual_seed(4))
        values = draws.values[0].double().numpy()
        shape = (-1, 1, 1, 1) if family == "flip" else (-1,)
        with mock.patch.object(np.random, "rand", return_value=values.reshape(shape)):
            expected = getattr(intervention, f"diff_{family}")(images)
        what = f"augmentation {family}, float32"
        yield Line(what, relative(DSA(family).apply(images, draws), expected), 1e-5)


def check_whitening(rat: Path) -> Lines:
    """Compare their `preprocess`, which is run alone because its module imports data sets."""
    source = (rat / "framework" / "config.py").read_text()
    begin = source.index("def preprocess(")
    names: dict[str, Any] = {"np": np, "torch": torch}
    exec(compile(source[begin:], "framework/config.py", "exec"), names)
    train, test = (np.random.default_rng(k).integers(0, 256, (n, 8, 8, 3)) for k, n in ((0, 400), (1, 30)))
    expected, other, _ = names["preprocess"](train, test, regularization=0.1)
    ours, tested = (torch.from_numpy(each / 255).permute(0, 3, 1, 2).float() for each in (train, test))
    transform = preprocessing.fit(record.Preprocessing(kind="unit-zca"), ours)
    yield Line("whitening of training images, float32", relative(transform.forward(ours), expected), 1e-5)
    yield Line("whitening of test images, float32", relative(transform.forward(tested), other), 1e-5)


def lines_of(rat: Path, higher: Path) -> Lines:
    """Compare everything."""
    yield from check_whitening(rat)
    with imported(rat, higher) as modules:
        yield from check_parts(modules)
        for window, inner, learned in itertools.product((WINDOW, T), ("Adam", "SGD"), (False, True)):
            yield from check(modules, rat_ours.case(T, window, inner, learned=learned))
        for nc, batch in ((4, 2), (2, 1)):
            drawn = replace(rat_ours.case(T, WINDOW, "Adam", learned=True), nc=nc, batch_pc=batch)
            yield from check(modules, drawn)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rat", type=Path, metavar="PATH", required=True, help="checkout of RaT-BPTT's code")
    parser.add_argument("--higher", type=Path, metavar="PATH", required=True, help="checkout of higher")
    options = parser.parse_args()
    files = ("framework/base.py", "framework/distill_higher.py")
    for checkout, needed in ((options.rat, files), (options.higher, ("higher/optim.py",))):
        for name in needed:
            if not (checkout / name).is_file():
                sys.exit(f"{checkout}: no {name}; expected a checkout of the reference")
    print(f"torch {torch.__version__}, trajfmt {trajfmt.__version__}, Python {sys.version.split()[0]}")
    print(f"RaT-BPTT {commit_of(options.rat)}", reference.fingerprint(options.rat, *files))
    print(f"higher {commit_of(options.higher)}", reference.fingerprint(options.higher, "higher/optim.py"))
    torch.set_num_threads(1)
    counts = {"failed": 0, "passed": 0, "skipped": 0}
    for line in lines_of(options.rat.resolve(), options.higher.resolve()):
        print(line, flush=True)
        counts["skipped" if line.error is None else "failed" if line.failed else "passed"] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
