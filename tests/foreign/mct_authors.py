"""Files as the MCT authors' converter writes them, stated anew from what it does: kinds, dtypes, bugs.

`write` turns MTT's buffers of a folder into pairs, `write_dense` into their dense versions. Everything is
float32, computed by torch in their order, since their rounding is what a reader has to take.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch

Step = list[torch.Tensor]
Path_ = list[Step]


def expert(
    seed: int, timesteps: int = 51, *, still: tuple[int, ...] = (), width: int = 4, classes: int = 3
) -> Path_:
    """Return a wandering trajectory of a small network; parameters named in `still` never move."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(width, 3, 3, 3), (width,), (width,), (width,), (classes, width), (classes,)]
    step = [torch.randn(shape, generator=generator) for shape in shapes]
    steps = [step]
    for t in range(1, timesteps):
        scale = 0.3 / t
        step = [
            p.clone() if index in still else p + scale * torch.randn(p.shape, generator=generator)
            for index, p in enumerate(step)
        ]
        steps.append(step)
    return steps


def indices(timesteps: int, knots: int) -> list[int]:
    """Return their waypoints: every `timesteps // (knots - 1)`, and the last; so 5 become 6 of 51."""
    found = list(range(0, timesteps, timesteps // (knots - 1)))
    return found if found[-1] == timesteps - 1 else [*found, timesteps - 1]


def betas(steps: Path_) -> list[Step]:
    """Return the running share of each tensor's path length as 0-d tensors, `[t][parameter]`."""
    norms = [
        [torch.norm(b - a, p=2) for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(steps)
    ]
    table: list[Step] = [[] for _ in steps]
    for layer in range(len(steps[0])):
        column = [row[layer] for row in norms]
        whole = torch.sum(torch.stack(column))
        divisor = whole if whole != 0 else 1.0
        for t in range(len(steps)):
            table[t].append(torch.sum(torch.stack([*column[:t], torch.tensor(0.0)])) / divisor)
    return table


def mean(a: Step, b: Step) -> Step:
    """Return the mean of two timesteps."""
    return [torch.div(torch.add(x, y), 2) for x, y in zip(a, b, strict=True)]


def uniform(steps: Path_) -> list[Step]:
    """Return t / T for every tensor."""
    last = len(steps) - 1
    return [[torch.tensor(t / last) for _ in step] for t, step in enumerate(steps)]


def decreasing(steps: Path_) -> list[Step]:
    """Return sums of falling shares, the first of which stands at t = 0 already."""
    count, total, table = len(steps), 0.0, []
    shares = sum(range(1, count + 1))
    for t, step in enumerate(steps):
        table.append([torch.tensor((count - t) / shares + total) for _ in step])
        total += (count - t) / shares
    return table


def projected(steps: Path_) -> list[Step]:
    """Return where the whole vector's shadow falls on the line from the first to the last timestep."""
    flat = [torch.cat([p.flatten() for p in step]) for step in steps]
    way = flat[-1] - flat[0]
    return [[torch.dot(x - flat[0], way) / torch.dot(way, way) for _ in steps[0]] for x in flat]


ABLATIONS = {"_uni": uniform, "_dec": decreasing, "_proj": projected}


def pair(steps: Path_, knots: int, ablation: str = "", *, smooth: bool = True) -> tuple[Any, Any]:
    """Return what stands in a waypoint file and in a step file for one trajectory."""
    if knots == 2:
        return [steps[0], steps[-1]], ABLATIONS.get(ablation, betas)(steps)
    places = indices(len(steps), knots)
    segments = [betas(steps[a : b + 1]) for a, b in itertools.pairwise(places)]
    steps = list(steps)
    if smooth:  # one after the other, in place: neighbours may be smoothed already
        for t in places[1:-1]:
            steps[t] = mean(steps[t - 1], steps[t + 1])
        steps[-1] = mean(steps[-2], steps[-1])
    return [steps[t] for t in places], segments


def write(
    folder: Path, buffers: list[list[Path_]], knots: int = 2, ablation: str = "", *, smooth: bool = True
) -> str:
    """Write one pair for every buffer, and return what stands between `waypoint_buffer` and the number."""
    infix = f"_ip{knots}" if knots > 2 else ablation
    folder.mkdir(parents=True, exist_ok=True)
    for number, buffer in enumerate(buffers):
        halves = [pair(steps, knots, ablation, smooth=smooth) for steps in buffer]
        torch.save([one for one, _ in halves], folder / f"waypoint_buffer{infix}_{number}.pt")
        torch.save([two for _, two in halves], folder / f"step_buffer{infix}_{number}.pt")
    return infix


def dense(steps: Path_) -> Path_:
    """Return every timestep of the straight path, summed step by step."""
    way = [b - a for a, b in zip(steps[0], steps[-1], strict=True)]
    norms = [
        [torch.norm(b - a, p=2) for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(steps)
    ]
    sums = [sum((row[k] for row in norms), torch.tensor(0.0)) for k in range(len(way))]
    found, here = [steps[0]], steps[0]
    for row in norms:
        shares = [torch.tensor(1.0) if s == 0 else torch.div(n, s) for n, s in zip(row, sums, strict=True)]
        here = [torch.add(p, w * share) for p, w, share in zip(here, way, shares, strict=True)]
        found.append(here)
    return found


def dense_between(steps: Path_, places: tuple[int, int]) -> Path_:
    """Return the same from waypoint to waypoint, each averaged with the mean of its neighbours."""
    steps = list(steps)
    for t in places:
        steps[t] = mean(steps[t], mean(steps[t + 1], steps[t - 1]))
    steps[-1] = mean(steps[-1], mean(steps[-3], steps[-2]))
    a, b = places
    return [*dense(steps[: a + 1]), *dense(steps[a : b + 1])[1:], *dense(steps[b:])[1:]]


def write_dense(folder: Path, buffers: list[list[Path_]], version: str = "") -> None:
    """Write `convexified_replay_buffer_{n}.pt`, or version `_v2` or `_v3` with waypoints."""
    places = {"_v2": (6, 25), "_v3": (15, 30)}
    folder.mkdir(parents=True, exist_ok=True)
    for number, buffer in enumerate(buffers):
        made = [dense_between(s, places[version]) if version else dense(s) for s in buffer]
        torch.save(made, folder / f"convexified{version}_replay_buffer_{number}.pt")
