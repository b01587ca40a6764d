"""What MTT's own script saves by mistake, whatever the layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt

torch = pytest.importorskip("torch")
from tests.helpers.replay import expert, messages, refused, run, save, stack  # noqa: E402


def trained_on_cpu() -> list[list[Any]]:
    """Collect timesteps while training, by the very line of MTT's buffer.py: `p.detach().cpu()`."""
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    steps = [[p.detach().cpu() for p in net.parameters()]]
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        optimizer.zero_grad()
        net(torch.randn(8, 3, generator=generator)).square().mean().backward()
        optimizer.step()
        steps.append([p.detach().cpu() for p in net.parameters()])
    return steps


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_timesteps_aliased_by_a_cpu_run_are_refused(tmp_path: Path, suffix: str, zipped: bool) -> None:
    """MTT's own loop on a CPU saves the last weights 51 times: refused, with what to do instead."""
    path = save(tmp_path / "src", [trained_on_cpu()], _use_new_zipfile_serialization=zipped)
    error = refused(path.parent, "aliased_timesteps", suffix)
    assert "trajectory 0" in str(error)
    assert "clone()" in str(error)
    assert error.exit_code == 1
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_some_aliased_timesteps_are_named(tmp_path: Path, zipped: bool) -> None:
    """References that were appended without a copy, or a list that was made longer: one remark for a file."""
    first, *others = expert(1)
    buffer = [[first, others[0], others[0], others[1], others[1]], expert(2)]
    path = save(tmp_path / "src", buffer, _use_new_zipfile_serialization=zipped)
    _, events = run(path.parent)
    (told,) = (text for text in messages(events, "notice") if "same memory" in text)
    assert told.startswith("replay_buffer_0.pt: timesteps 1, 2; 3, 4 are the same memory in the file")


def test_a_frozen_part_is_no_alias(tmp_path: Path) -> None:
    """A second stage may save the same features at every timestep."""
    steps = expert(1)
    path = save(tmp_path / "src", [[[steps[0][0], *step[1:]] for step in steps]])
    _, events = run(path.parent)
    assert not [text for text in messages(events, "notice") if "same memory" in text]


def test_aliased_trajectory_is_left_out_on_demand(tmp_path: Path) -> None:
    """With `keep_going` the other trajectories are converted, and the omission is told."""
    path = save(tmp_path / "src", [trained_on_cpu(), good := expert(1, shapes=((2, 3), (2,)))])
    destination, events = run(path.parent, keep_going=True)
    assert len(messages(events, "skipped")) == 1
    with trajfmt.open(destination) as bundle:
        assert len(bundle) == 1
        assert np.array_equal(bundle[0].knot(0), stack(good)[0])


def test_timesteps_of_different_shapes_are_refused(tmp_path: Path) -> None:
    """A timestep that lost a tensor is found before any weight is read."""
    bad = expert(0)
    bad[3] = bad[3][:2]
    assert "timestep 3" in str(refused(save(tmp_path / "src", [bad]).parent, "mixed_architectures"))
