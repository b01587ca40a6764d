"""What one child process is asked to do, as plain types that pass through JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

EXPERT_STEPS = 2
"""Timesteps from start to target where gradients are compared; the trajectories have one more."""

LR_INIT, LR_IMG, LR_LR = 0.01, 1.0, 1e-9
"""Small steps, so that images and learning rate stay where they are while time is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of one outer step; every inner step sees all images, as in MTT's recipes of these sizes."""

    dataset: str
    """`CIFAR10` or `CIFAR100`, also where the images are noise."""

    ipc: int
    inner_steps: int
    width: int = 128
    faster: float | None = None
    """Target: so many times faster than MTT."""

    memory: float | None = None
    """Target: at most this share of MTT's memory."""

    @property
    def classes(self) -> int:
        """K."""
        return 100 if self.dataset == "CIFAR100" else 10

    @property
    def model(self) -> str:
        """Our name of the network."""
        return f"ConvNetD3W{self.width}"

    def __str__(self) -> str:
        return f"{self.dataset}, {self.classes * self.ipc} images, N = {self.inner_steps}, width {self.width}"


SHAPES = {
    "cpu": (
        Shape(dataset="CIFAR10", ipc=1, inner_steps=50, faster=1.5, memory=0.3),
        Shape(dataset="CIFAR10", ipc=5, inner_steps=30, faster=1.3, memory=1 / 8),
    ),
    "cuda": (
        Shape(dataset="CIFAR10", ipc=1, inner_steps=50, faster=8),
        Shape(dataset="CIFAR10", ipc=10, inner_steps=30, faster=4),
        Shape(dataset="CIFAR100", ipc=10, inner_steps=20, faster=3.5, memory=1 / 10),
    ),
    "tiny": (Shape(dataset="CIFAR10", ipc=1, inner_steps=4, width=32),),
}
"""What is measured on a CPU, on a GPU, and to prove that everything runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The work of one child process."""

    kind: str
    """The module that runs it: `material`, `reference`, `ours` or `exact`."""

    shape: Shape
    folder: Path
    """Where the material of the shape lies."""

    device: str
    steps: int = 3
    """Outer steps to time, after a first one."""

    found: Path | None = None
    """Do one step without augmentation, and write images and gradients to this file."""

    out: Path = Path()
    """JSON file of the result."""

    source: Path | None = None
    """`material`: file or folder with real images. `reference`: the checkout."""

    settings: dict[str, Any] = field(default_factory=dict)
    """`ours`: engine and execution."""

    def dumps(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def loads(cls, text: str) -> Job:
        """Return the job that `dumps` wrote."""
        facts = json.loads(text)
        facts["shape"] = Shape(**facts["shape"])
        for name in ("folder", "out", "found", "source"):
            facts[name] = facts[name] and Path(facts[name])
        return cls(**facts)
