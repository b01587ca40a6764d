"""Processes that share a run: real ones on gloo for sums, threads for what follows from them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.errors import ConfigError, RankError  # noqa: E402
from mct.runtime import ranks  # noqa: E402
from mct.runtime.launch import Launch  # noqa: E402
from mct.runtime.ranks import Alone, Group, joined, together  # noqa: E402
from tests.helpers.threads import Member, in_ranks  # noqa: E402

SCRIPT = """
import json, os, sys
import torch
from mct.models import networks
from mct.data.augment import DSA
from mct.errors import RankError
from mct.objectives.objective import LossAndAdjoint
from mct.runtime.ranks import Group, joined
from mct.runtime.seeds import generator
from mct.inner.steps.table import make_step
from mct.inner.problem import Problem, minibatches, targets_of
from mct.inner.unroll import ExactUnroll

random = generator(1)
model = networks.parse("ConvNetD1W4", channels=2, image_size=8, classes=3)
network = networks.build(model, generator=random).double()
weights = networks.flatten(network)
batches = minibatches(7, 4, 6, random) + [torch.tensor([2])]  # ragged, and fewer images than processes
augment = DSA()
problem = Problem(
    weights=weights,
    images=torch.randn(7, 2, 8, 8, generator=random, dtype=torch.float64),
    targets=targets_of(torch.arange(7) % 3, 3, torch.float64),
    learning_rate=0.05,
    batches=batches,
    augment=augment,
    draws=[augment.draw(len(batch), 8, random) for batch in batches],
)
goal = weights + 0.1 * torch.randn(len(weights), generator=random, dtype=torch.float64)

def terminal(path):
    final = path[-1]
    return LossAndAdjoint(float((final - goal).square().sum()), 2 * (final - goal))

step = make_step(network, engine="eager", notes=None)
whole = ExactUnroll(step).gradients(problem, terminal)

def off(found, expected):
    found, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (found, expected))
    return float((found - expected).norm() / expected.norm())

with joined() as (ranks, device):
    shared = ExactUnroll(step, shard=ranks).gradients(problem, terminal)
    ones = torch.full((1000,), ranks.rank + 1.0)
    ranks.sum(ones)
    kinds = (torch.uint8, torch.int64, torch.float64)
    kinds = [torch.full((3,), 100 + ranks.rank, dtype=kind) for kind in kinds]
    for values in kinds:
        ranks.sum(values)
    bits = shared.images.view(torch.int64)
    both = bits.clone()
    ranks.sum(both)
    facts = {
        "size": ranks.size,
        "device": device,
        "off": [off(getattr(shared, n), getattr(whole, n)) for n in ("loss", "images", "learning_rate")],
        "sum": sorted(set(ones.tolist())),
        "kinds": [values.tolist() for values in kinds],
        "same": bool((both == ranks.size * bits).all()),
    }
    if ranks.rank == 1:
        os._exit(0)
    try:
        ranks.sum(ones)
    except RankError as exc:
        facts["lost"] = str(exc)
    with open(sys.argv[1], "w") as file:
        json.dump(facts, file)
    os._exit(0)
"""


def test_two_processes_on_gloo(tmp_path: Path) -> None:
    """Sharded gradients are those of one process to 1e-10, in the same bits; a lost process is told."""
    script, out = tmp_path / "script.py", tmp_path / "facts.json"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, script, out], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = json.loads(out.read_text())
    assert max(facts["off"]) < 1e-10
    assert facts["kinds"] == [[201] * 3] * 3
    assert facts["lost"].startswith("rank 0 of 2: another process of the run has died or left (")
    assert (facts["size"], facts["device"], facts["sum"], facts["same"]) == (2, "cpu", [3.0], True)


LEAVING = """
import os, sys
from pathlib import Path
import torch
from mct.runtime.ranks import Group, joined

with joined() as (ranks, device):
    ranks.sum(torch.ones(3))
    import torch._dynamo  # imports functions that have the default group for a default argument
names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
Path(sys.argv[1], os.environ["RANK"]).write_text("\\n".join(names))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
def test_no_thread_of_a_group_is_left(tmp_path: Path) -> None:
    """A thread of gloo's that outlives the group can abort the process while Python ends."""
    script = tmp_path / "script.py"
    script.write_text(LEAVING)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, script, tmp_path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for rank in ("0", "1"):
        names = (tmp_path / rank).read_text().splitlines()
        assert names
        assert not [name for name in names if "gloo" in name]


@pytest.mark.parametrize("size", [None, "1"])
def test_process_that_torchrun_did_not_start_is_alone(monkeypatch, size: str | None) -> None:
    """Nor is one whose only process it is in a group; the device stays what it was."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    with joined("cuda:3") as (ranks, device):
        assert isinstance(ranks, Alone)
        assert device == "cuda:3"
        values = torch.ones(3)
        ranks.sum(values)
    assert torch.equal(values, torch.ones(3))


@pytest.mark.parametrize("failing", [(0,), (1,), (1, 2), ()])
def test_none_goes_on_where_one_has_failed(failing: tuple[int, ...]) -> None:
    """The first that failed says why, all others that it did; without failures all go on."""

    def work(ranks: Member) -> str:
        with together(ranks):
            if ranks.rank in failing:
                raise ConfigError(f"bad in {ranks.rank}")
        return "went on"

    found = in_ranks(work, size=3)
    if not failing:
        assert found == ["went on"] * 3
        return
    first = found.pop(failing[0])
    assert isinstance(first, ConfigError)
    assert str(first) == f"bad in {failing[0]}"
    assert all(isinstance(each, RankError) and f"rank {failing[0]} has failed" in str(each) for each in found)


def test_alone_an_error_is_itself() -> None:
    """One process needs no agreement."""
    with pytest.raises(ConfigError, match="bad"), together(Alone()):
        raise ConfigError("bad")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", RuntimeError),
        ("Connection closed by peer", RankError),
    ],
)
def test_sum_tells_exhausted_memory_from_a_lost_process(text, kind, monkeypatch) -> None:
    """Another process is blamed only for what is not a lack of memory here."""

    def refuse(*_args, **_kwargs):
        raise RuntimeError(text)

    monkeypatch.setattr(ranks, "meet", lambda *_args: None)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_args, **_kwargs: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", refuse)
    with pytest.raises(kind) as caught:
        Group("gloo", Launch(size=2)).sum(torch.zeros(1))
    assert type(caught.value) is kind
