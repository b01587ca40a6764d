"""Part 6: later methods, shortened: DATM on ten experts, a cell of table 2, and RaT-BPTT.

DATM distils ten images per class from flat experts, from every timestep and from four knots. The experts are
ten of 40 epochs, where the published ones are 100 of 100: its starts of this number of images end before
timestep 20, but its labels come from the last one. The cell of table 2 of the MCT paper has ten images per
class, starts before timestep 5 and ten experts; continuous and whole starts are drawn from the same bundle.
RaT-BPTT distils one image per class on real images, without experts, for two minutes.

Each run does as many outer steps as its share of the time allows, and its last images are evaluated by its
protocol on the test set. What the part needs is trained here, so that it can run alone: --parts 6.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data
from context import Context
from outer_step.processes import note


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the runs are."""

    flat: dict[str, Any]
    """Settings of the flat experts, for DATM."""

    plain: dict[str, Any]
    """Settings of the plain experts, for table 2."""

    flat_knots: tuple[int, ...]
    plain_knots: tuple[int, ...]
    ipc: int = 10
    model: str | None = None
    preprocessing: str | None = None
    outer_steps: int = 1000
    evaluation: dict[str, Any] = field(default_factory=dict)
    datm: dict[str, Any] = field(default_factory=dict)
    table2: dict[str, Any] = field(default_factory=dict)
    rat: dict[str, Any] = field(default_factory=dict)


GSAM: dict[str, Any] = {"sharpness": 0.01, "surrogate_gap": 0.3}

FULL = Size(
    flat={"experts": 10, "epochs": 40, **GSAM},
    plain={"experts": 10, "epochs": 50},
    flat_knots=(10, 22),
    plain_knots=(6, 25),
    preprocessing="zca",
    table2={"expert_steps": 5, "max_start": 5, "inner_steps": 30, "trajectories": 10},
)
TINY = Size(
    flat={"experts": 2, "epochs": 4, **GSAM},
    plain={"experts": 2, "epochs": 4},
    flat_knots=(2,),
    plain_knots=(2,),
    ipc=1,
    model="ConvNetD2W8",
    outer_steps=2,
    evaluation={"networks": 1, "epochs": 2},
    datm={"inner_steps": 2, "expert_steps": 2, "max_start": 2, "engine": "eager"},
    table2={"inner_steps": 2, "expert_steps": 2, "max_start": 2, "engine": "eager", "trajectories": 1},
    rat={"inner_steps": 3, "min_steps": 2, "window": 2, "engine": "eager"},
)

ROWS = {
    "flat experts": "flat experts",
    "datm full": "DATM, every timestep",
    "datm convexified": "DATM, four knots",
    "plain experts": "plain experts",
    "table 2 continuous": "table 2, continuous starts",
    "table 2 discrete": "table 2, whole starts",
    "rat": "RaT-BPTT, one image a class",
}

_EVALUATION = 20.0
"""Seconds that are kept for an evaluation at full size."""

_RAT = 120.0
"""Seconds of the run of RaT-BPTT at full size."""


def rows(_context: Context) -> dict[str, str]:
    """Return the rows of the table."""
    return {"images": "images", **ROWS}


def show(_row: str, facts: dict[str, Any], _all: dict[str, dict[str, Any]]) -> str:
    """Return the text of a row."""
    if "text" in facts or "failed" in facts:
        return str(facts.get("failed") or facts["text"])
    if "epochs" in facts:
        text = f"{facts['experts']} experts of {facts['epochs']} epochs in {facts['seconds']:.0f} s"
        return f"{text}, test accuracy {facts['accuracy']:.1%}"
    spread = "" if facts["std"] is None else f" ± {facts['std']:.1%}"
    refused = f", {facts['refused']} changed nothing" if facts["refused"] else ""
    text = f"{facts['mean']:.1%}{spread} after {facts['steps']} outer steps{refused}, "
    return text + f"{1e3 * facts['seconds']:.1f} ms each; evaluation {facts['evaluation']:.1f} s"


def run(context: Context) -> None:
    """Train both kinds of experts, distil from them, and distil without any."""
    given = data.dataset(context)
    if given is None:
        for row in rows(context):
            context.emit(row, text="needs real images: --cifar10 PATH")
        return
    size, (name, root) = FULL if context.full else TINY, given
    context.emit("images", text=name)
    rat = _RAT + _EVALUATION if context.full else 0.0
    for kind, names in (("flat", ("datm full", "datm convexified")),
                        ("plain", ("table 2 continuous", "table 2 discrete"))):  # fmt: skip
        try:
            bundles = _experts(context, size, kind, name, root)
        except Exception as exc:
            for row in (f"{kind} experts", *names):
                context.emit_failure(row, exc)
            continue
        rest = 0.55 if kind == "flat" else 1.0  # the other kind needs as much again
        for number, row in enumerate(names):
            seconds = (context.left - rat) * rest / (len(names) - number)
            _tried(context, size, row, bundles[row.startswith("datm full")], name, root, seconds)
    _tried(context, size, "rat", None, name, root, min(context.left, rat) if context.full else 1.0)


def _experts(context: Context, size: Size, kind: str, name: str, root: Path | None) -> tuple[Path, Path]:
    """Train experts at once, and return the bundles with some knots and with every timestep."""
    from mct.events import ExpertDone
    from mct.experts.run import ExpertRun
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert

    settings = size.flat if kind == "flat" else size.plain
    knots = size.flat_knots if kind == "flat" else size.plain_knots
    full, few = context.work / f"{kind}.mtt", context.work / f"{kind}.mct"
    run = ExpertRun.prepare(
        name, full, model=size.model, preprocessing=size.preprocessing, root=root, device=context.device,
        at_once=settings["experts"], notes=note, **settings,
    )  # fmt: skip
    began = time.time()
    accuracies = [event.accuracy for event in run.events() if isinstance(event, ExpertDone)]
    context.emit(
        f"{kind} experts", experts=settings["experts"], epochs=settings["epochs"],
        seconds=time.time() - began, accuracy=sum(accuracies) / len(accuracies),
    )  # fmt: skip
    convert(full, few, ConvertOptions(knots=knots))
    return few, full


def _tried(
    context: Context, size: Size, row: str, path: Path | None, name: str, root: Path | None, seconds: float
) -> None:
    """Distil for so many seconds and evaluate; a failure is the result of this row alone."""
    try:
        _distilled(context, size, row, path, name, root, seconds)
    except Exception as exc:
        context.emit_failure(row, exc)


def _distilled(
    context: Context, size: Size, row: str, path: Path | None, name: str, root: Path | None, seconds: float
) -> None:
    """Distil for so many seconds, evaluate the last images, and write the result."""
    import trajfmt
    from mct.distillation.distiller import Distiller
    from mct.settings import defaults
    from mct.settings.presets import METHODS

    note(row)
    until = time.time() + seconds - (_EVALUATION if context.full else 0)
    method = {"d": "datm", "t": "mct", "r": "rat"}[row[0]]
    if method not in METHODS:
        context.emit(row, text=f"this version has no method {method}")
        return
    own = {"datm": size.datm, "mct": size.table2, "rat": size.rat}[method]
    extra = {"sampling": row.split()[-1]} if method == "mct" else {}
    settings = {
        "engine": "compiled",
        "select": "test",
        "outer_steps": 10**6,
        "method": method,
        **own,
        **extra,
    }
    ipc = 1 if path is None else size.ipc
    most = 10**6 if path is None and context.full else size.outer_steps
    with contextlib.nullcontext() if path is None else trajfmt.open(path) as bundle:
        distiller = Distiller.from_bundle(
            bundle, dataset=name if path is None else None, root=root, device=context.device,
            model=size.model if path is None else None, ipc=ipc, **settings,
        )  # fmt: skip
        state, took = distiller.initial(), list[float]()
        while len(took) < most and (len(took) < 2 or time.time() < until):
            state, event = distiller.step(state)
            distiller.clock.read()
            took.append(event.seconds)
        published = defaults.evaluation_of(
            name, ipc, preprocessing=distiller.dataset.transform.record.kind, method=method
        )
        began = time.time()
        found = distiller.evaluate(state, defaults.evaluate_config(name, **published | size.evaluation))
        if distiller.stream is not None:
            distiller.stream.close()
    usual = sorted(took[2:] or took)
    context.emit(
        row,
        steps=len(took),
        seconds=usual[len(usual) // 2],
        refused=state.refused,
        mean=found.mean,
        std=found.std,
        evaluation=time.time() - began,
        loss=event.loss,
        notes=distiller.notes,
    )
