"""What `methods.py` compares: initial images and labels, and every outer iteration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import method_ours
import method_scene
import torch
from method_ours import Done
from table import Line, Lines, relative

import trajfmt
from mct.initial.experts import LastExperts, correct_first, mean_logits
from mct.settings.config import DistillConfig

ALLOWED = 1e-9


def replaced(config: DistillConfig, **settings: Any) -> DistillConfig:
    """Return settings with some of them replaced."""
    return replace(config, **settings)


class Asked:
    """Experts in another order."""

    def __init__(self, experts: LastExperts, order: Sequence[int]) -> None:
        self._experts, self._order = experts, order

    def __len__(self) -> int:
        return len(self._order)

    def logits(self, expert: int, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of the expert with this number in the order."""
        return self._experts.logits(self._order[expert], images)


def initial(what: str, theirs: dict[str, Any], bundle: Path, ipc: int) -> Lines:
    """Compare which real images begin, and the logits with which their labels begin.

    Their script differs in two things. It keeps the numbers of the images of a class in a Python set, whose
    order is not that in which they were found; images are therefore compared without regard to their order
    within a class. And it loads the first expert once, before the first class: where a class needs another
    expert, the next class begins with that one, and goes on with the second. Our function is therefore given
    the experts in the order in which they are asked there.
    """
    images, labels = method_scene.real()
    chosen = theirs["initial"]["images"]["value"]
    numbers = [int((images == image).flatten(1).all(1).nonzero()) for image in chosen]
    wrong = changed = carried = 0
    later = []
    with trajfmt.open(bundle) as opened:
        experts = method_ours.experts_of(opened)
        right = torch.stack([experts.logits(k, images).argmax(1) == labels for k in range(len(experts))])
        for label, shuffled in enumerate(theirs["orders"][: method_scene.CLASSES]):
            order, asked = torch.tensor(shuffled), [carried, *range(1, len(experts))]
            found = set(numbers[label * ipc : (label + 1) * ipc])
            ours = correct_first(Asked(experts, asked), images, labels)(order)[:ipc].tolist()
            plain = correct_first(experts, images, labels)(order)[:ipc].tolist()
            wrong, changed = wrong + len(set(ours) ^ found), changed + len(set(plain) - found)
            later += [number for number in ours if not right[0, number]]
            enough = [int(right[asked[: k + 1]].any(0)[order].sum()) >= ipc for k in range(len(asked))]
            carried = asked[enough.index(True)]
        hits = right[:, numbers].sum(1)
        logits = mean_logits(experts, chosen, labels[numbers])
    yield Line(
        f"{what}, initial images: {len(numbers)} of {len(images)}, {len(later)} of which the first expert "
        "does not classify correctly; images that differ",
        float(wrong),
    )
    if changed:
        yield Line(
            f"{what}, initial images: after a class that needs a second expert, their next class does not "
            f"begin with the first one; ours does, and then {changed} images differ",
            None,
        )
    yield Line(
        f"{what}, initial logits; each expert is right about {int(hits.min())} to {int(hits.max())} of "
        f"{len(numbers)} images",
        relative(logits, theirs["initial"]["labels"]["value"]),
        ALLOWED,
    )


def places_of(theirs: Sequence[dict[str, Any]], bundle: Path) -> list[tuple[int, int]]:
    """Return which trajectory and timestep each iteration started from, by its weights."""
    with trajfmt.open(bundle) as opened:
        known = {
            opened[number].at(t).tobytes(): (number, t)
            for number in range(len(opened))
            for t in range(int(opened[number].last) + 1)
        }
    places = [known[facts["theta"].numpy().tobytes()] for facts in theirs]
    assert [start for _, start in places] == [facts["start"] for facts in theirs]
    return places


def iterations(what: str, theirs: dict[str, Any], bundle: Path, config: DistillConfig) -> Lines:
    """Compare loss, gradients, values, velocities and averages of all iterations."""
    first, seen = theirs["initial"], theirs["iterations"]
    labels = torch.arange(method_scene.CLASSES).repeat_interleave(config.ipc)
    logits = first["labels"]["value"] if config.labels == "learned" else None
    places = places_of(seen, bundle)
    for engine in method_ours.ENGINES:
        start = method_ours.start_of(config, first["images"]["value"], labels, config.lr_init, logits)
        done = method_ours.outer_steps(bundle, start, places, engine)
        yield from _compare(f"{what}, {len(seen)} iterations, {engine}", done, seen)
    yield from _refusals(what, done, seen)
    if config.ramp_from is not None:
        bounds = [int(facts["bound"]) for facts in seen]
        found = [method_ours.bound_of(config, number) for number in range(len(seen))]
        differing = sum(a != b for a, b in zip(bounds, found, strict=True))
        yield Line(f"{what}: bounds of the start {', '.join(map(str, bounds))}", float(differing))
    if config.end == "nearest":
        numbers = [int(facts["index"]) for facts in seen]
        differing = sum(a != b.nearest for a, b in zip(numbers, done, strict=True))
        yield Line(f"{what}: i* {', '.join(map(str, numbers))} of {config.inner_steps}", float(differing))


def _compare(what: str, done: Sequence[Done], seen: Sequence[dict[str, Any]]) -> Lines:
    """Return the largest errors of all iterations, each relative to the largest value in it."""
    errors: dict[str, float] = {}

    def note(name: str, found: Any, expected: Any) -> None:
        found, expected = (torch.as_tensor(value, dtype=torch.float64) for value in (found, expected))
        errors[name] = max(errors.get(name, 0.0), relative(found, expected))

    for ours, facts in zip(done, seen, strict=True):
        learned, after = facts["learned"], ours.after
        note("loss", ours.gradients.loss, facts["loss"])
        slopes = {
            "images": ours.gradients.images,
            "learning_rate": ours.gradients.learning_rate,
            "labels": ours.logits,
        }
        for name, parts in learned.items():
            said = {"learning_rate": "alpha", "labels": "label logits"}.get(name, name)
            if ours.gradients.accepted and "gradient" in parts:
                note(f"gradient of {said}", slopes[name], parts["gradient"])
            if name not in after.synthetic.values:
                continue
            note(said, after.synthetic.values[name], parts["value"])
            if "velocity" in parts:
                note(f"velocity of {said}", after.memory[name]["velocity"], parts["velocity"])
            if "average" in parts:
                note(f"average of {said}", after.memory[name]["average"], parts["average"])
    for name, error in errors.items():
        yield Line(f"{what}: {name}", error, ALLOWED)


def _refusals(what: str, done: Sequence[Done], seen: Sequence[dict[str, Any]]) -> Lines:
    """Compare which iterations change nothing, and whether all values and velocities keep their bits then."""
    if done[0].before.synthetic.run.config.loss_threshold is None:
        return
    threshold = done[0].before.synthetic.run.config.loss_threshold
    theirs = [number for number, facts in enumerate(seen) if facts["loss"] > threshold]
    ours = [number for number, one in enumerate(done) if not one.gradients.accepted]
    yield Line(
        f"{what}: refused iterations {', '.join(map(str, theirs))} of {len(seen)}; those that differ",
        float(len(set(theirs) ^ set(ours))) if 0 < len(theirs) < len(seen) else float("inf"),
    )
    moved = sum(not method_ours.same_values(done[number].before, done[number].after) for number in ours)
    for number in theirs:
        if number:
            moved += not _same(seen[number - 1]["learned"], seen[number]["learned"])
    yield Line(f"{what}: refused iterations in which either side changed a value or a velocity", float(moved))


def _same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    """Return whether all values and velocities of two iterations have the same bits."""
    for name, part in itertools.product(one, ("value", "velocity")):
        first, second = one[name].get(part), two[name].get(part)
        if (first is None) != (second is None) or (first is not None and not torch.equal(first, second)):
            return False
    return True
