"""Part 5: a shortened form of the paper's comparison, as far as the time allows.

The published data set, network and settings, with at most 10 experts instead of 100 and 1,000 outer steps
instead of 5,000. The same experts serve MTT with every timestep, MCT with four knots, and MCT with two
knots on trajectories that are cut after the last timestep that can be a target. A method does at most as
many outer steps as the one before it; the table says how many. The last images are evaluated by the
published protocol on the test set.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data
import records
from context import Context
from outer_step.processes import note


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the comparison is."""

    experts: int
    epochs: int
    knots: tuple[int, ...]
    outer_steps: int
    model: str | None = None
    preprocessing: str | None = None
    ipcs: tuple[int, ...] = (1, 10)
    networks: int = 5
    passes: int = 1000
    settings: dict[str, Any] = field(default_factory=dict)


FULL = Size(experts=10, epochs=50, knots=(6, 25), outer_steps=1000, preprocessing="zca")
TINY = Size(
    experts=2,
    epochs=6,
    knots=(2, 4),
    outer_steps=3,
    model="ConvNetD2W8",
    ipcs=(1,),
    networks=2,
    passes=5,
    settings={"inner_steps": 3, "expert_steps": 2, "max_start": 2, "engine": "eager"},
)
METHODS = {"MTT": "MTT, every timestep", "MCT4": "MCT, four knots", "MCT2": "MCT, two knots, cut"}

EXPERTS_SHARE = 0.45
"""Of the part's time that training experts may take; else there are fewer of them."""

EVALUATION = 25.0
"""Seconds that are kept for an evaluation at full size."""


def _size(context: Context) -> Size:
    return FULL if context.full else TINY


def rows(context: Context) -> dict[str, str]:
    """Return the rows of the table."""
    methods = {
        f"ipc {ipc} {name}": f"{ipc} image{'s' if ipc > 1 else ''} a class: {label}"
        for ipc in _size(context).ipcs
        for name, label in METHODS.items()
    }
    return {"images": "images", "experts": "experts", "storage": "storage of the trajectories"} | methods


def show(row: str, facts: dict[str, Any], _all: dict[str, dict[str, Any]]) -> str:
    """Return the text of a row."""
    if "text" in facts or "failed" in facts:
        return str(facts.get("failed") or facts["text"])
    if row == "experts":
        text = f"{facts['experts']} experts of {facts['epochs']} epochs in {facts['seconds']:.0f} s"
        return f"{text}, test accuracy {facts['accuracy']:.1%}"
    if row == "storage":
        full = facts["MTT"]
        sizes = [f"{METHODS[name]} {facts[name] / 1e6:.1f} MB ({facts[name] / full:.2%})" for name in METHODS]
        return ", ".join(sizes)
    spread = "" if facts["std"] is None else f" ± {facts['std']:.1%}"
    text = f"{facts['mean']:.1%}{spread} after {facts['steps']} outer steps of "
    return text + f"{1e3 * facts['seconds']:.1f} ms; evaluation {facts['evaluation']:.1f} s"


def run(context: Context) -> None:
    """Train experts, convert them, distil and evaluate."""
    given = data.dataset(context)
    if given is None:
        why = "needs real images: --cifar10 PATH"
        if context.cifar10 is not None:
            why = "the images were not unpacked in time: see campaign.log"
        for row in rows(context):
            context.emit(row, text=why)
        return
    size, (name, root) = _size(context), given
    copies = context.full and context.cifar10 is not None and context.cifar10.is_file()
    context.emit("images", text=f"{name}, {'JPEG copies, which lose detail' if copies else 'as published'}")
    full, real = _experts(context, size, name, root)
    bundles = _convert(context, size, full, ipc=size.ipcs[0])
    steps = size.outer_steps
    for ipc in size.ipcs:
        if ipc != size.ipcs[0]:
            if context.left < 60:
                break
            bundles |= _cut(context, full, ipc)
        for number, (method, path) in enumerate(bundles.items()):
            share = context.left / (len(bundles) - number)
            try:
                steps = _distil(context, size, f"ipc {ipc} {method}", path, real, ipc, steps, share)
            except Exception as exc:
                context.emit_failure(f"ipc {ipc} {method}", exc)


def _experts(context: Context, size: Size, name: str, root: Path | None) -> tuple[Path, Any]:
    """Train as many experts as the time allows, at once, and return the bundle and the data set."""
    from mct.events import ExpertDone, ExpertEpoch
    from mct.experts.run import ExpertRun

    out, count = context.work / "full.mtt", _possible(context, size)
    run = ExpertRun.prepare(
        name, out, model=size.model, preprocessing=size.preprocessing, root=root, device=context.device,
        at_once=count, experts=count, epochs=size.epochs, notes=note,
    )  # fmt: skip
    note(f"{count} experts")
    began, accuracies = time.time(), list[float]()
    for event in run.events():
        if isinstance(event, ExpertDone):
            accuracies.append(event.accuracy)
        elif isinstance(event, ExpertEpoch) and event.expert == 0 and event.epoch % 10 == 0:
            note(f"epoch {event.epoch} after {time.time() - began:.0f} s")
    facts = {"experts": count, "epochs": size.epochs, "seconds": time.time() - began}
    context.emit("experts", **facts, accuracy=sum(accuracies) / len(accuracies))
    return out, run.dataset


def _possible(context: Context, size: Size) -> int:
    """Return how many experts can be trained in the time for them, at the speed that part 4 has measured."""
    measured = records.read(context.out).get(4, {}).get("experts 10", {}).get("seconds")
    if not context.full or measured is None:
        return size.experts
    possible = int(EXPERTS_SHARE * context.left / (1.2 * measured * size.epochs))
    return min(size.experts, max(1, possible))


def _convert(context: Context, size: Size, full: Path, *, ipc: int) -> dict[str, Path]:
    """Return a bundle for each method, and write how large they are."""
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert

    four = context.work / "four.mct"
    convert(full, four, ConvertOptions(knots=size.knots))
    bundles = {"MTT": full, "MCT4": four, **_cut(context, full, ipc)}
    files = {name: [file for file in path.rglob("*") if file.is_file()] for name, path in bundles.items()}
    context.emit("storage", **{name: sum(file.stat().st_size for file in own) for name, own in files.items()})
    return bundles


def _cut(context: Context, full: Path, ipc: int) -> dict[str, Path]:
    """Convexify the trajectories up to the last target of MCT's settings."""
    from mct.settings import defaults
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert

    size, path = _size(context), context.work / f"two-{ipc}.mct"
    config = defaults.distill_config(
        "CIFAR10" if context.full else "digits", ipc=ipc, preprocessing=size.preprocessing, method="mct",
        **size.settings,
    )  # fmt: skip
    last = math.ceil((config.max_start or 0) + config.expert_steps)
    convert(full, path, ConvertOptions(timesteps=(0, last + 1)))
    return {"MCT2": path}


def _distil(
    context: Context,
    size: Size,
    row: str,
    path: Path,
    real: Any,
    ipc: int,
    steps: int,
    seconds: float,
) -> int:
    """Distil for so many steps or seconds, evaluate the last images, and return how many steps were done."""
    import trajfmt
    from mct.distillation.distiller import Distiller
    from mct.results import grids
    from mct.settings import defaults
    from mct.trajectories import provenance

    note(row)
    until = time.time() + seconds - (EVALUATION if context.full else 0)
    with trajfmt.open(path) as bundle:
        config = defaults.distill_config(
            real.name,
            preprocessing=real.transform.record.kind,
            method="mtt" if bundle.encoding == "full" else "mct",
            **{"engine": "compiled", "select": "test", "ipc": ipc, "outer_steps": steps} | size.settings,
        )
        model = provenance.model_of(bundle.manifest.provenance, real, name=None)
        distiller = Distiller(
            bundle, real, model, config, artifact_sha256=bundle.sha256, device=context.device
        )
        state, took = distiller.initial(), list[float]()
        while len(took) < steps and (len(took) < 3 or time.time() < until):
            state, event = distiller.step(state)
            distiller.clock.read()
            took.append(event.seconds)
        distiller.stream.close()
        protocol = defaults.evaluate_config(real.name, networks=size.networks, epochs=size.passes)
        began = time.time()
        found = distiller.evaluate(state, protocol)
    if row.endswith("MCT4"):
        grid = grids.grid(real.pixels(state.synthetic.images.cpu()), columns=ipc * max(1, 10 // ipc))
        (context.out / f"paper-ipc{ipc}.png").write_bytes(grids.png(grid))
    usual = sorted(took[2:] or took)
    context.emit(
        row,
        steps=len(took),
        seconds=usual[len(usual) // 2],
        mean=found.mean,
        std=found.std,
        evaluation=time.time() - began,
        loss=event.loss,
        notes=distiller.notes,
    )
    return len(took)
