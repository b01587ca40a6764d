"""Buffers of random walks, converting them, and eq. 9 as the paper writes it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajfmt.bundle.validation import validate
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

SHAPES = ((4, 3), (4,), (2, 2), (2,))
PAPER = (
    *((128, 3, 3, 3), (128,), (128,), (128,)),
    *((128, 128, 3, 3), (128,), (128,), (128,)) * 2,
    *((10, 2048), (10,)),
)
"""The paper's ConvNet: 320,010 parameters."""

SMALL = ((4, 3, 3, 3), (4,), (4,), (4,), (10, 4 * 16 * 16), (10,))
"""A ConvNet of depth 1 and width 4 for 32 x 32 images."""


def theta(seed: int, timesteps: int = 8, shapes: Any = SHAPES) -> list[list[np.ndarray]]:
    """Return one trajectory as a random walk, so that the path is longer than the way."""
    generator = np.random.default_rng(seed)
    now = [np.asarray(generator.standard_normal(shape), np.float32) for shape in shapes]
    steps = [now]
    for _ in range(timesteps - 1):
        now = [x + np.float32(0.1) * generator.standard_normal(x.shape).astype(np.float32) for x in now]
        steps.append(now)
    return steps


def flat(steps: list[list[np.ndarray]]) -> np.ndarray:
    """Return the weights `(T+1, P)`."""
    return np.stack([np.concatenate([x.reshape(-1) for x in step]) for step in steps])


def save(folder: Path, trajectories: list[list[list[np.ndarray]]], number: int = 0) -> Path:
    """Save a file of a buffer; every tensor has its own storage."""
    folder.mkdir(parents=True, exist_ok=True)
    content = [[[torch.from_numpy(x.copy()) for x in step] for step in steps] for steps in trajectories]
    torch.save(content, folder / f"replay_buffer_{number}.pt")
    return folder


def beta(steps: list[list[np.ndarray]], groups: list[list[int]], knots: list[int]) -> np.ndarray:
    """Return u(t) by eq. 9 as the paper writes it: loops, float64, one layer at a time."""
    u = np.zeros((len(steps), len(groups)))
    for column, members in enumerate(groups):
        rows = [np.concatenate([step[i].reshape(-1) for i in members]).astype(np.float64) for step in steps]
        norms = [float(np.sqrt(((b - a) ** 2).sum())) for a, b in itertools.pairwise(rows)]
        for s, (a, b) in enumerate(itertools.pairwise(knots)):
            length = sum(norms[a:b])
            for t in range(a, b + 1):
                passed = sum(norms[a:t]) / length if length else (t - a) / (b - a)
                u[t, column] = s + passed
    return u


def files(bundle: Path) -> dict[str, bytes]:
    """Return every file of a bundle by its path."""
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}


def run(source: Path, destination: Path, **options: Any) -> list[Event]:
    """Convert, require a sound bundle, and return the events."""
    events: list[Event] = []
    convert(source, destination, ConvertOptions(**options), on_event=events.append)
    assert validate(destination) == []
    return events


def notices(events: list[Event]) -> str:
    """Return everything that was remarked on."""
    return "\n".join(event.message for event in events if event.kind == "notice")


def size(bundle: Path) -> int:
    """Return the bytes of a bundle."""
    return sum(len(data) for data in files(bundle).values())
