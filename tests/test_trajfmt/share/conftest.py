"""A small bundle with all facts, and a hub that a user is logged in to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.hub import TOKEN, Hub
from trajfmt import Model, ParamLayout, Preprocessing, Provenance, TimestepUnit
from trajfmt.schema.provenance import SourceFile

LAYOUT = ParamLayout.of([("features.0.weight", (20, 5)), ("features.0.bias", (20,))])

PROVENANCE = Provenance(
    dataset="CIFAR10",
    model=Model(family="ConvNet", depth=3, width=128, channels=3, classes=10, norm="instance", pooling="avg"),
    preprocessing=Preprocessing(kind="normalize", mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.201]),
    recipe={"lr": 0.01, "batch_size": 256},
    timestep=TimestepUnit(kind="epoch"),
    sources=[SourceFile(f"replay_buffer_{n}.pt", 1000, f"{n}" * 64) for n in range(2)],
)


@pytest.fixture
def make(write_bundle: Callable[..., Path], walk: Callable[..., Any]) -> Callable[..., Path]:
    """Return a function that writes a bundle of random trajectories, with all facts."""

    def write(name: str = "two.mct", seed: int = 0, count: int = 2, **options: Any) -> Path:
        thetas = [walk(LAYOUT, seed=seed + n) for n in range(count)]
        encoding = "full" if name.endswith(".mtt") else "convex"
        return write_bundle(
            LAYOUT, *thetas, name=name, encoding=encoding, **{"provenance": PROVENANCE, **options}
        )

    return write


@pytest.fixture
def bundle(make: Callable[..., Path]) -> Path:
    """Return a bundle of two convexified trajectories."""
    return make()


@pytest.fixture
def mine(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    """Return a hub that the user is logged in to, with the right to write."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    return hub
