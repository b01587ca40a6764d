"""Runs of checkpoints as training scripts write them, and what must be read from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.foreign import checkpoints as foreign
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import FormatError, SourceError, TrajfmtError
from trajfmt.sources.base.collection import Collection
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.discovery import open_source
from trajfmt.storage.inputs import Row

STEPS = (500, 1000, 2000, 10000)
BUFFERS = ("1.running_mean", "1.running_var", "1.num_batches_tracked")
Written = tuple[Path, list[foreign.State]]


def opened(path: Path, **options: Any) -> tuple[Collection, list[ForeignTrajectory]]:
    """Open a folder and check its trajectories."""
    collection = open_source(path, **options)
    found = [trajectory for part in collection.parts for trajectory in part.open(path)]
    for trajectory in found:
        trajectory.check()
    return collection, found


def refused(path: Path, reason: str, **options: Any) -> str:
    """Require that a conversion is refused in one line and leaves nothing; return the line."""
    with pytest.raises(TrajfmtError) as caught:
        convert(path, path.with_name("out.mct"), ConvertOptions(**options))
    assert isinstance(caught.value, (SourceError, FormatError))
    assert caught.value.reason == reason, str(caught.value)
    assert "\n" not in str(caught.value)
    assert not os.path.lexists(path.with_name("out.mct"))
    return str(caught.value)


def names_of(collection: Collection) -> list[str]:
    """Return the parameters' names."""
    assert collection.layout is not None
    return [parameter.name for parameter in collection.layout.parameters]


def assert_same(
    collection: Collection, trajectory: ForeignTrajectory, states: list[foreign.State], prefix: str = ""
) -> None:
    """Require every parameter and buffer of every timestep, bit for bit."""
    names = names_of(collection)
    assert sorted(names) == sorted(prefix + name for name in states[0] if name not in BUFFERS)
    for t, state in enumerate(states):
        for index, name in enumerate(names):
            expected = state[name.removeprefix(prefix)].reshape(-1)
            found = trajectory.read(t, index)
            assert found[:].tobytes() == expected.view(torch.uint8).numpy().tobytes(), (t, name)
            assert isinstance(found, Row)  # in place: nothing is read but what is asked for
        buffers = trajectory.buffers(t)
        assert sorted(buffers) == sorted(prefix + name for name in BUFFERS)
        for name, array in buffers.items():
            np.testing.assert_array_equal(array, state[name.removeprefix(prefix)].numpy())


@dataclass
class Case:
    """One writer, and what its files tell."""

    write: Callable[[Path, list[foreign.State], list[dict[str, Any]]], Path]
    layout: str
    numbers: tuple[int, ...]
    unit: str | None
    ordered: bool = True
    prefix: str = ""


def by_step(write: Callable[..., Path], **options: Any) -> Callable[..., Path]:
    """Return a writer that is told the steps."""
    return lambda folder, states, _: write(folder, dict(zip(STEPS, states, strict=True)), **options)


CASES = {
    "plain": Case(by_step(foreign.plain), "checkpoints", STEPS, "step"),
    "under_a_key": Case(by_step(foreign.plain, key="model_state_dict"), "checkpoints", STEPS, "step"),
    "under_net": Case(by_step(foreign.plain, key="net", name="{}.pth"), "checkpoints", STEPS, None),
    "torchvision": Case(foreign.torchvision, "checkpoints", (0, 1, 2, 3), None),
    "lightning": Case(foreign.lightning, "checkpoints", (500, 1000, 1500, 2000), "step", prefix="model."),
    "safetensors": Case(by_step(foreign.tensors), "checkpoints", STEPS, None, ordered=False),
    "hf": Case(by_step(foreign.huggingface), "step-folders", STEPS, "step", ordered=False),
    "hf_shards": Case(by_step(foreign.huggingface, shards=3), "step-folders", STEPS, "step", ordered=False),
    "hf_bin": Case(by_step(foreign.huggingface, pickled=True), "step-folders", STEPS, "step"),
    "hf_bin_shards": Case(
        by_step(foreign.huggingface, pickled=True, shards=2), "step-folders", STEPS, "step", ordered=False
    ),
}


def assert_same_values(
    collection: Collection, trajectory: ForeignTrajectory, states: list[foreign.State], prefix: str
) -> None:
    """Require every parameter of every timestep."""
    for t, state in enumerate(states):
        for index, name in enumerate(names_of(collection)):
            expected = state[name.removeprefix(prefix)].numpy().reshape(-1)
            np.testing.assert_array_equal(trajectory.read(t, index), expected)
