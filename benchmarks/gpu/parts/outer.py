"""Part 3: one outer step, of MTT and TESLA as their authors published them, and of ours in every mode.

Ours run in this process, one after another, so that what is compiled serves all; the references run in
processes of their own (`benchmarks/outer_step`). All work on the same experts and images, which are noise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from context import ROOT, Context, begin_anew
from outer_step.job import SHAPES, Job, Shape
from outer_step.processes import Bench, ProcessError, note

REFERENCES = ("MTT", "TESLA")
OURS: dict[str, dict[str, Any]] = {
    "ours, as the command runs it": {"engine": "compiled"},
    "ours, nothing kept": {"engine": "compiled", "keep_mb": 0},
    "ours, not captured": {"engine": "compiled", "captured": False},
    "ours, bf16": {"engine": "compiled", "precision": "bf16"},
    "ours, streamed knots": {"engine": "compiled", "streamed": True},
    "ours, eager": {"engine": "eager"},
}
ON_A_CPU = ("ours, as the command runs it", "ours, eager")
"""Elsewhere nothing is captured, and compiling takes longest."""

_STEPS, _REFERENCE_STEPS = 5, 3


def shapes(context: Context) -> dict[str, Shape]:
    """Return the shapes of a campaign by name."""
    return {str(shape): shape for shape in SHAPES["cuda" if context.full else "tiny"]}


def rows(context: Context) -> dict[str, str]:
    """Return the rows of the table."""
    names = [*REFERENCES, *(OURS if context.cuda else ON_A_CPU)]
    return {f"{shape}: {name}": f"{shape}: {name}" for shape in shapes(context) for name in names}


def show(row: str, facts: dict[str, Any], everything: dict[str, dict[str, Any]]) -> str:
    """Return the text of a row."""
    if "seconds" not in facts:
        return str(facts.get("failed") or facts.get("text"))
    shape, _, name = row.partition(": ")
    seconds, theirs = facts["seconds"], everything.get(f"{shape}: MTT", {})
    text = f"{median(seconds):.4f} s ({min(seconds):.4f} to {max(seconds):.4f})"
    if name != "MTT" and "seconds" in theirs:
        text += f", {median(theirs['seconds']) / median(seconds):.2f} times as fast as MTT"
    if "allocated" in facts:
        text += f"; {facts['allocated']:.0f} MiB of tensors"
        if name != "MTT" and "allocated" in theirs:
            text += f" ({facts['allocated'] / theirs['allocated']:.3f} of MTT's)"
    if "launches" in facts:
        text += f"; {facts['launches']} launches, {facts['graphs']} graphs, device busy {facts['busy']:.0%}"
    ceiling = everything.get("convolution tf32", {}).get("rate")
    if "work" in facts:
        rate = facts["work"] / median(seconds) / 1e12
        text += f"; {rate:.3g} TFLOP/s in convolutions"
        if ceiling and "bf16" not in name:
            text += f", {rate / ceiling:.0%} of the TF32 ceiling"
    if "cosine" in facts:
        text += f"; cosine to the exact gradient {facts['cosine']:.6f}"
    return text


def run(context: Context) -> None:
    """Measure what the command does and MTT in all shapes, then the other modes, then TESLA.

    How exact the references are comes last.
    """
    from outer_step import material

    jobs = {}
    for name, shape in shapes(context).items():
        job = Job(
            kind="material",
            shape=shape,
            folder=context.work / f"outer-{shape.dataset}-{shape.ipc}",
            device=context.device,
            steps=_STEPS if context.full else 1,
        )
        material.run(job)
        jobs[name] = job
    usual, *others = [row for row in OURS if context.cuda or row in ON_A_CPU]
    truths: dict[str, Any] = {}
    with _one_step_for_all():
        for name, job in jobs.items():
            _ours(context, f"{name}: {usual}", job, OURS[usual], truths)
        _references(context, jobs, "MTT")
        for row in others:
            for name, job in jobs.items():
                _ours(context, f"{name}: {row}", job, OURS[row], truths)
    _references(context, jobs, "TESLA")
    for name, job in jobs.items():
        for reference in REFERENCES:
            if context.left > 15 or not context.full:
                _cosine(context, f"{name}: {reference}", reference, job)


def warm(context: Context, number: int) -> None:
    """Compile what one shape needs, into the cache on disk, without a result."""
    from outer_step import material, ours

    shape = list(shapes(context).values())[number]
    folder = context.work / f"warm-{number}"
    job = Job(kind="material", shape=shape, folder=folder, device=context.device, steps=1)
    material.run(job)
    with _one_step_for_all():
        for settings in list(OURS.values())[:4]:
            if settings.get("captured", True):
                ours.run(replace(job, settings=settings))


def _ours(context: Context, row: str, job: Job, settings: dict[str, Any], truths: dict[str, Any]) -> None:
    """Measure ours in one mode; the exact gradient of every shape is computed once."""
    import torch
    from outer_step import exact, ours

    note(row)
    try:
        begin_anew(context)
        with _captured(settings.get("captured", True)):
            facts = ours.run(replace(job, kind="ours", settings=settings))
        if not context.cuda:
            del facts["peak"]  # of a process that has done other work as well
        kept = settings["engine"] == "compiled" and settings.get("keep_mb") != 0
        facts["work"] = _work(job.shape, kept=kept)
        context.emit(row, **facts)
        found = job.folder / "ours.pt"
        ours.run(replace(job, kind="ours", settings=settings, found=found))
        if str(job.shape) not in truths:
            truths[str(job.shape)] = exact.reference(job)
        context.emit(row, **exact.compared(torch.load(found), *truths[str(job.shape)]))
    except Exception as exc:
        context.emit_failure(row, exc)


def _references(context: Context, jobs: dict[str, Job], reference: str) -> None:
    """Measure one of the authors' loops in all shapes."""
    begin_anew(context)  # they need the memory
    for name, job in jobs.items():
        _reference(context, f"{name}: {reference}", reference, job)


def _reference(context: Context, row: str, reference: str, job: Job) -> None:
    """Measure one of the authors' loops."""
    checkout = getattr(context, reference.lower())
    if checkout is None:
        context.emit(row, text=f"needs a checkout: --{reference.lower()} PATH")
        return
    note(row)
    try:
        steps = min(job.steps, _REFERENCE_STEPS)
        facts = _bench(context, reference).run(
            row, replace(job, kind="reference", source=checkout, steps=steps)
        )
        context.emit(row, **facts)
    except ProcessError as exc:
        context.emit(row, failed=str(exc))


def _cosine(context: Context, row: str, reference: str, job: Job) -> None:
    """Compare the gradient of one of the authors' loops with the exact one."""
    import torch
    from outer_step import exact

    checkout = getattr(context, reference.lower())
    if checkout is None:
        return
    found = job.folder / f"{reference}.found"
    try:
        bench = _bench(context, reference)
        bench.run(row, replace(job, kind="reference", source=checkout, found=found))
        context.emit(row, **exact.compared(torch.load(found), *exact.reference(job)))
    except ProcessError as exc:
        note(f"{row}: {exc}")


def _bench(context: Context, name: str) -> Bench:
    folder = context.work / name
    folder.mkdir(exist_ok=True)
    script: Path = ROOT / "benchmarks" / "outer_step.py"
    limit = min(300.0, max(1.0, context.left))
    return Bench(script=script, folder=folder, cuda=context.cuda, threads=None, limit=limit)


def _work(shape: Shape, *, kept: bool) -> float:
    """Return the floating-point operations of the convolutions of one outer step.

    An update and its adjoint cost as much as nine forward passes if all activations are kept, and eleven if
    they are computed again.
    """
    channels, forward = 3, 0.0
    for side in (32, 16, 8):
        forward += 2.0 * side * side * 9 * channels * shape.width
        channels = shape.width
    return forward * shape.classes * shape.ipc * shape.inner_steps * (9 if kept else 11)


def _one_step_for_all() -> AbstractContextManager[object]:
    """Have all distillers of this process share what they compile."""
    from mct.distillation import distiller

    real: Callable[..., Any] = distiller.make_step
    steps: dict[Any, Any] = {}

    def shared(network: Any, *, engine: str, notes: Any) -> Any:
        key = engine, tuple(value.shape for value in network.parameters())
        if key not in steps:
            steps[key] = real(network, engine=engine, notes=notes)
        return steps[key]

    return mock.patch.object(distiller, "make_step", shared)


def _captured(wanted: bool) -> AbstractContextManager[object]:
    """Run the inner loop as CUDA graphs, or launch by launch."""
    from mct.distillation import distiller

    if wanted:
        return nullcontext()
    return mock.patch.object(distiller, "GraphUnroll", lambda plain, **_: plain)
