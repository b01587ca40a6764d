"""Processes that share a run: real ones on gloo for sums, threads for what follows from them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.distillation import state as states  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import ConfigError, DivergedError, ExistsError, RankError  # noqa: E402
from mct.events import OuterStep  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.ranks import Alone, joined, together  # noqa: E402
from mct.settings.config import DistillConfig, EvaluateConfig  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402
from tests.helpers.threads import Member, in_ranks  # noqa: E402

CONFIG = DistillConfig(ipc=1, inner_steps=3, expert_steps=2, max_start=3, outer_steps=5, lr_img=10,
                       lr_lr=1e-4, lr_init=0.02, batch_syn=4, save_every=100, samples=2)  # fmt: skip
PROTOCOL = EvaluateConfig(networks=1, epochs=1)

SCRIPT = """
import json, os, sys
import torch
from mct.models import networks
from mct.data.augment import DSA
from mct.errors import RankError
from mct.objectives.matching import Match
from mct.runtime.ranks import joined
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

def terminal(final):
    return Match(float((final - goal).square().sum()), 2 * (final - goal))

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
from mct.ranks import joined

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


def test_processes_that_do_not_find_one_another(monkeypatch) -> None:
    """Half of torchrun's variables are one clear error."""
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RankError, match="did not find one another"), joined():
        pass


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


@pytest.fixture
def bundle(network: networks.ConvNet) -> FakeBundle:
    """Return two wandering trajectories of the small network."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    return FakeBundle([0.1 * random_walk(layout, 6, seed) for seed in range(2)], layout, knots=(2,))


@pytest.fixture
def runs(bundle, digits, model) -> Callable[..., list]:
    """Return a function that distils in as many threads as are asked for, or in this one."""

    def run(path: Path, size: int = 1, config=CONFIG, prepare=None, **options) -> list:
        resume = options.pop("resume", False)

        def work(ranks) -> list:
            distiller = Distiller(
                bundle, digits, model, config, artifact_sha256="ab" * 32, ranks=ranks, **options
            )
            if prepare is not None:
                prepare(distiller)
            return list(distill(distiller, RunFolder(path), resume=resume, evaluation=PROTOCOL))

        return [work(Alone())] if size == 1 else in_ranks(work, size)

    return run


def content(path: Path) -> dict[str, object]:
    """Return the files of a run, without what it took of the machine."""
    files: dict[str, object] = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    taken = dict.fromkeys(("seconds", "parts", "memory_mb", "utilisation"))
    return files | {
        "metrics.jsonl": [json.loads(line) | taken for line in files["metrics.jsonl"].splitlines()]
    }


@pytest.mark.parametrize("extra", [{}, {"labels": "teacher", "eval_every": 2, "samples": 3}], ids=str)
def test_samples_of_two_processes_are_those_of_one(tmp_path: Path, runs, extra) -> None:
    """Everything that process 0 writes is what one process writes, to the bit where two numbers are added."""
    config = replace(CONFIG, **extra)
    one = runs(tmp_path / "one", config=config)[0]
    two = runs(tmp_path / "two", 2, config)
    if config.samples == 2:
        assert content(tmp_path / "one") == content(tmp_path / "two")
    assert content(tmp_path / "one").keys() == content(tmp_path / "two").keys()
    losses = [[event.loss for event in events if isinstance(event, OuterStep)] for events in (one, *two)]
    assert losses[1] == losses[2]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_sharded_run_is_that_of_one_process(tmp_path: Path, runs) -> None:
    """With `shard` every process has a part of every batch, and the run is the same up to rounding."""
    config = replace(CONFIG, samples=1)
    (one,) = runs(tmp_path / "one", config=config)
    two = runs(tmp_path / "two", 2, config, shard=True)
    for events in two:
        assert [event.loss for event in events] == pytest.approx([event.loss for event in one], rel=1e-4)
    (alone, shared) = (states.load(tmp_path / name / "state.safetensors") for name in ("one", "two"))
    assert torch.allclose(alone.synthetic.images, shared.synthetic.images, atol=1e-3)


def test_error_before_the_first_step_ends_all(tmp_path: Path, runs) -> None:
    """Process 0 says what is wrong with the folder, the others stop; nothing is changed."""
    (tmp_path / "precious").write_text("mine")
    first, second = runs(tmp_path, 2)
    assert isinstance(first, ExistsError)
    assert isinstance(second, RankError)
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]


def failing(rank: int, step: int) -> Callable[[Distiller], None]:
    """Return what makes a process fail in a step."""

    def prepare(distiller: Distiller) -> None:
        real = distiller.step

        def fake(state):
            if (distiller.ranks.rank, state.step + 1) == (rank, step):
                raise OSError("the machine is gone")
            return real(state)

        distiller.step = fake  # type: ignore[method-assign]

    return prepare


def test_run_whose_process_died_continues(tmp_path: Path, runs) -> None:
    """Process 0 saves the last whole state, which two processes, or one, continue to the same bits."""
    runs(tmp_path / "whole")
    for size in (1, 2):
        path = tmp_path / f"cut{size}"
        first, second = runs(path, 2, prepare=failing(1, 4))
        assert isinstance(second, OSError)
        assert isinstance(first, RankError)
        assert f"{path / 'state.safetensors'} holds the state of step 3, from which --resume" in str(first)
        assert states.load(path / "state.safetensors").step == 3
        runs(path, size, resume=True)
        assert content(path) == content(tmp_path / "whole")


def test_death_of_process_0_ends_the_others(tmp_path: Path, runs) -> None:
    """They say so, and leave the files as they are."""
    first, second = runs(tmp_path / "run", 2, prepare=failing(0, 2))
    assert isinstance(first, OSError)
    assert isinstance(second, RankError)
    assert states.load(tmp_path / "run" / "state.safetensors").step == 1


def test_divergence_is_seen_by_all(tmp_path: Path, runs) -> None:
    """All end in the same step; only the one that saves says what is saved."""
    first, second = runs(tmp_path / "run", 2, replace(CONFIG, lr_lr=1e9))
    assert isinstance(first, DivergedError)
    assert isinstance(second, DivergedError)
    assert str(first).startswith(f"{second}; {tmp_path / 'run' / 'state.safetensors'} holds the state")
