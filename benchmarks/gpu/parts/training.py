"""Part 4: experts in training, and the evaluation of distilled images, by MTT's loops and by ours."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from context import Context, begin_anew, synchronize
from outer_step.processes import note


def at_once(context: Context) -> tuple[int, ...]:
    """Return how many experts are trained at once, in the order of the rows."""
    return (1, 5, 10) if context.full else (1, 2)


def rows(context: Context) -> dict[str, str]:
    """Return the rows of the table."""
    experts = {f"experts {count}": f"experts: ours, {count} at once" for count in at_once(context)}
    networks = _size(context).networks
    own = {
        "evaluation eager": f"evaluation: ours, {networks} networks at once, eager",
        "evaluation compiled": f"evaluation: ours, {networks} networks at once, compiled",
    }
    return {
        "experts MTT": "experts: MTT's loop, one at a time",
        **experts,
        "evaluation MTT": "evaluation: MTT's loop, one network at a time",
        **own,
    }


def show(row: str, facts: dict[str, Any], everything: dict[str, dict[str, Any]]) -> str:
    """Return the text of a row."""
    if "seconds" not in facts:
        return str(facts.get("failed") or facts.get("text"))
    kind = row.split()[0]
    unit = "epoch of an expert" if kind == "experts" else "network"
    text = f"{facts['seconds']:.3f} s for each {unit} ({facts['what']})"
    theirs = everything.get(f"{kind} MTT", {})
    if not row.endswith("MTT") and "seconds" in theirs:
        text += f", {theirs['seconds'] / facts['seconds']:.1f} times as fast as MTT"
    return text + (f"; {facts['memory']:.0f} MiB of tensors" if "memory" in facts else "")


def _size(context: Context) -> SimpleNamespace:
    """Return the sizes of a campaign."""
    if context.full:
        return SimpleNamespace(
            width=128, images=50_000, epochs=3, networks=5, passes=251, test=10_000, batch=256
        )
    return SimpleNamespace(width=8, images=512, epochs=2, networks=2, passes=6, test=200, batch=256)


def run(context: Context) -> None:
    """Measure experts, then evaluations."""
    for row, work in _work(context):
        note(row)
        try:
            begin_anew(context)
            facts = work()
            if context.cuda:
                import torch

                facts["memory"] = torch.cuda.max_memory_allocated() / 2**20
            context.emit(row, **facts)
        except Exception as exc:
            context.emit_failure(row, exc)


def warm(context: Context) -> None:
    """Compile what experts and evaluations need, into the cache on disk."""
    size = _size(context)
    data = _noise(context, images=min(size.images, size.batch + size.images % size.batch), test=8)
    _experts(context, data, 1, epochs=1)
    _evaluation(context, "compiled", passes=2)


def _work(context: Context) -> Iterator[tuple[str, Any]]:
    """Yield the rows, each with what returns its facts."""
    size = _size(context)
    data = _noise(context, images=size.images, test=size.test)
    theirs = {
        "experts": partial(_their_epoch, context, data),
        "evaluation": partial(_evaluation, context, "reference", passes=size.passes),
    }
    if context.mtt is None:
        theirs = dict.fromkeys(theirs, lambda: {"text": "needs a checkout: --mtt PATH"})
    yield "experts MTT", theirs["experts"]
    for count in at_once(context):
        yield f"experts {count}", partial(_experts, context, data, count, epochs=size.epochs)
    yield "evaluation MTT", theirs["evaluation"]
    for engine in ("eager", "compiled"):
        yield f"evaluation {engine}", partial(_evaluation, context, engine, passes=size.passes)


def _noise(context: Context, *, images: int, test: int) -> Any:
    """Return a data set of CIFAR-10's shape with random pixels."""
    import torch

    from mct.data.datasets import Dataset
    from mct.data.preprocessing import fit
    from mct.runtime.seeds import generator
    from trajfmt import Preprocessing

    pixels = torch.randn(images, 3, 32, 32, generator=generator(0))
    return Dataset(
        name="noise",
        train_images=pixels.to(context.device),
        train_labels=(torch.arange(images) % 10).to(context.device),
        test_images=torch.randn(test, 3, 32, 32, generator=generator(1)).to(context.device),
        test_labels=(torch.arange(test) % 10).to(context.device),
        class_names=tuple("0123456789"),
        transform=fit(Preprocessing(kind="none"), pixels[:10].clamp(0, 1)),
        labels_sha256="",
        test_sha256="",
    )


def _model(context: Context) -> Any:
    from mct.models import networks

    return networks.parse(f"ConvNetD3W{_size(context).width}", channels=3, image_size=32, classes=10)


def _experts(context: Context, data: Any, count: int, *, epochs: int) -> dict[str, Any]:
    """Time experts that are trained at once; the first epoch of each does not count."""
    from mct.events import ExpertEpoch
    from mct.experts.train import train_experts
    from mct.settings.expert import ExpertConfig

    nowhere = SimpleNamespace(
        finished=0, recorder=lambda: SimpleNamespace(add=lambda _: None), keep=lambda _: None
    )  # the weights of every timestep are copied to the host, as for a recording, and dropped
    config, said = ExpertConfig(experts=count, epochs=epochs), list[str]()
    ends: list[float] = []
    events = train_experts(
        data, _model(context), config, nowhere, device=context.device, engine="compiled", at_once=count,
        notes=said.append,
    )  # fmt: skip
    synchronize(context)
    for event in events:
        if isinstance(event, ExpertEpoch):
            synchronize(context)
            ends.append(time.perf_counter())
    timed = (epochs - 1) * count
    seconds = (ends[-1] - ends[count - 1]) / timed if timed else 0.0
    return {"seconds": seconds, "what": f"{len(data.train_labels):,} images", "notes": said}


def _their_epoch(context: Context, data: Any) -> dict[str, Any]:
    """Time an epoch of `buffer.py`'s own function on its own loader; an epoch before does not count."""
    import torch
    from forward import theirs_of
    from reference import load

    from mct.data.augment import STRATEGY

    warnings.simplefilter("ignore")  # theirs
    nets, utils = load(context.mtt, "networks", "utils")
    network = theirs_of(nets, _model(context)).to(context.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = data.train_images.cpu(), data.train_labels.cpu()
    loader = torch.utils.data.DataLoader(
        utils.TensorDataset(images, labels), batch_size=256, shuffle=True, num_workers=0
    )
    arguments = SimpleNamespace(
        device=context.device, dsa=True, dsa_strategy=STRATEGY, dsa_param=utils.ParamDiffAug(),
        dataset="CIFAR10", zca=False,
    )  # fmt: skip
    criterion, seconds = torch.nn.CrossEntropyLoss().to(context.device), 0.0
    for _ in range(2):
        synchronize(context)
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            utils.epoch("train", loader, network, optimizer, criterion, arguments, aug=True)
        synchronize(context)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "what": f"{len(labels):,} images"}


def _evaluation(context: Context, row: str, *, passes: int) -> dict[str, Any]:
    """Time one way of `benchmarks/evaluate.py`."""
    import evaluate
    import torch

    size = _size(context)
    options = SimpleNamespace(
        row=row, mtt=context.mtt, passes=passes, networks=size.networks, images=10, width=size.width,
        device=context.device, threads=torch.get_num_threads(),
    )  # fmt: skip
    found = evaluate.measure(options)
    what = f"{passes} passes over 10 images, {evaluate.tests(options):,} test images"
    return {"seconds": found["seconds"] / size.networks, "first": found["first"], "what": what}
