"""On a GPU: knots, networks in training, and whole runs of the command `mct`, resumed and out of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.evaluation.protocol import evaluate  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from mct.training import compiled, learners  # noqa: E402
from mct.training.loader import Loader  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402

pytestmark = pytest.mark.cuda

RULE = {"momentum": 0.9, "weight_decay": 5e-4}
MODEL = networks.parse("ConvNetD2W8", channels=1, image_size=8, classes=10)


# --- knots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("knots", [(), (3, 5), None])
def test_streamed_knots_equal_resident_ones(knots, cuda) -> None:
    """Starts and targets are the same bits, and those of the CPU to rounding, whatever the budget."""
    network = networks.build(MODEL, generator=generator(0))
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    bundle = FakeBundle([random_walk(layout, 8, seed) for seed in range(4)], layout, knots=knots)
    options = {"expert_steps": 2, "max_start": 5}
    whole = KnotStream(bundle, device=cuda, **options)
    small = KnotStream(bundle, device=cuda, budget=5 * layout.nbytes, **options)
    host = KnotStream(bundle, **options)
    random = generator(7)
    for _ in range(20):
        at = whole.pick(random)
        small.prefetch(random)
        one, two, three = (stream.sample(*at) for stream in (whole, small, host))
        assert torch.equal(one.weights, two.weights)
        assert torch.allclose(one.weights.cpu(), three.weights, rtol=1e-6, atol=1e-7)
        ends = [torch.empty_like(each.weights) for each in (one, two, three)]
        for each, end in zip((one, two, three), ends, strict=True):
            each.target.write(0, len(end), end)
        assert torch.equal(ends[0], ends[1])
        assert torch.allclose(ends[0].cpu(), ends[2], rtol=1e-6, atol=1e-7)
    for stream in (whole, small, host):
        stream.close()


# --- networks in training -------------------------------------------------------------------------


@pytest.mark.usefixtures("deterministic")
def test_captured_updates_are_uncaptured_ones_bit_for_bit(cuda, recorder) -> None:
    """With momentum, weight decay, two sizes of batches and another step size in between."""
    images = torch.randn(20, 1, 8, 8, generator=generator(0)).to(cuda)
    labels = (torch.arange(20) % 10).to(cuda)
    found = []
    for captures in (False, True):
        network = networks.build(MODEL, generator=generator(0), device=cuda)
        (program,) = compiled.programs([network], MODEL, engine="eager", shapes=[], notes=None)
        learner = learners.FlatLearner(network, program, **RULE, notes=pytest.fail, recorder=recorder)
        if not captures:
            learner._recorder = None
        batches = Loader(images, labels, classes=10, size=6, augment=None).batches(8, generator(1))
        for number, batch in enumerate(batches):
            if number % 16 == 0:
                learner.begin(0.1 / (1 + number))
            learner.update(batch)
        found.append(learner.weights())
    assert torch.equal(*found)


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_networks_at_once_equal_networks_one_by_one(engine, digits: Dataset, cuda) -> None:
    """An evaluation of three networks has the accuracies of the same networks alone, up to rounding."""
    here, said = digits.to(cuda), list[str]()
    images, labels = here.train_images[:20], here.train_labels[:20]

    def run(count: int) -> list[float]:
        config = EvaluateConfig(networks=count, epochs=20)
        jobs = evaluate(images, labels, 0.02, here, MODEL, config, engine=engine, notes=said.append)
        return [each.accuracy for each in jobs]

    assert np.allclose(run(3)[:1], run(1), atol=0.03)
    assert not [line for line in said if "could not" in line]


# --- whole runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small bundle of random trajectories for the digits."""
    path = tmp_path_factory.mktemp("experts") / "small.mct"
    network = networks.build(MODEL, generator=generator(0))
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    known = trajfmt.Provenance(
        dataset="digits", model=MODEL, preprocessing=trajfmt.Preprocessing(kind="normalize")
    )
    with trajfmt.create(path, layout, encoding="convex", provenance=known) as writer:
        for seed in range(3):
            writer.add(trajfmt.ArrayTrajectory(0.1 * random_walk(layout, 6, seed), layout))
    return path


def mct(*words: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, after some lines of Python."""
    code = f"import sys\n{before}\nfrom traj_cli.mct import main\nmain(prog_name='mct')"
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def distil(
    bundle: Path,
    out: Path,
    cuda,
    *words: object,
    engine: str = "compiled",
    ipc: int = 2,
    batch: int = 8,
    before: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a small distillation."""
    small = ["--steps", 4, "--expert-steps", 2, "--max-start", 3, "--ipc", ipc, "--batch-syn", batch]
    engine = engine if cuda.type == "cuda" else "eager"  # a CPU would compile for a minute
    small += ["--lr-img", 10, "--engine", engine, "--device", cuda, "--out", out]
    return mct("distill", "--traj", bundle, *small, *words, before=before)


def test_run_with_evaluations(experts: Path, tmp_path: Path, cuda) -> None:
    """Captured steps, knots from another thread, evaluations in streams; time by part and memory are told."""
    out = tmp_path / "run"
    words = ["--outer-steps", 4, "--eval-every", 2, "--eval-networks", 2, "--eval-epochs", 8, "--knots-mb", 0]
    done = distil(experts, out, cuda, *words)
    assert done.returncode == 0, done.stderr
    assert "could not" not in done.stderr
    assert ("activations of 4 of 4 inner steps are kept" in done.stderr) == (cuda.type == "cuda")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
    for line in lines[1:]:
        assert line["memory_mb"] > 0
        assert {"interpolate", "augment", "forward", "adjoint", "update"} <= line["parts"].keys()
        assert sum(line["parts"].values()) > 0
    here = torch.zeros(1, device=cuda).device  # with its number
    assert json.loads((out / "settings.json").read_text())["device"] == str(here)


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    engine, experts: Path, tmp_path: Path, cuda
) -> None:
    """With --deterministic, all augmentations included."""
    if engine == "compiled" and cuda.type != "cuda":
        pytest.skip("a CPU would compile for a minute")
    for out, counts in (("whole", [4]), ("parts", [2, 4])):
        for number, count in enumerate(counts):
            again = ["--resume"] if number else []
            words = ["--deterministic", "--outer-steps", count, *again]
            done = distil(experts, tmp_path / out, cuda, *words, engine=engine)
            assert done.returncode == 0, done.stderr
            assert "could not" not in done.stderr
    one, two = (states(tmp_path / out) for out in ("whole", "parts"))
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


def states(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a run's state."""
    from safetensors.torch import load_file

    return load_file(folder / "state.safetensors")


def test_want_of_memory_is_one_line(experts: Path, tmp_path: Path, cuda) -> None:
    """With what to lower, where the state is, and exit code 1."""
    if cuda.type != "cuda":
        pytest.skip("a limit of torch's own allocator, which a CPU has not")
    full = """
import torch
from mct.distillation.distiller import Distiller
real = Distiller.step
def step(self, state):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / torch.cuda.mem_get_info()[1])
    return real(self, state)
Distiller.step = step
"""
    done = distil(experts, tmp_path / "run", cuda, ipc=100, batch=1000, before=full)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    here = torch.zeros(1, device=cuda).device  # with its number
    assert line.startswith(f"error: outer step 1: not enough memory on {here}; lower --")


def test_fewer_activations_instead_of_failing(cuda) -> None:
    """With a limit that a budget without bounds runs into: less is kept, and the gradient is the same."""
    if cuda.type != "cuda":
        pytest.skip("a limit of torch's own allocator, which a CPU has not")
    code = """
import torch
from mct.models import networks
from mct.inner.graphs import GraphUnroll
from mct.inner.keeping import KeepBudget, KeepingUnroll
from mct.objectives.objective import LossAndAdjoint
from mct.inner.problem import Problem, targets_of
from mct.runtime.seeds import generator
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.unroll import ExactUnroll

torch.use_deterministic_algorithms(True)
device = torch.device("cuda")
model = networks.parse("ConvNetD3W32", channels=3, image_size=32, classes=10)
network = networks.build(model, generator=generator(0), device=device).double()
step = ConvNetStep(network)
problem = Problem(
    weights=step.pack(torch.nn.utils.parameters_to_vector(network.parameters()).detach()),
    images=torch.randn(50, 3, 32, 32, generator=generator(1), dtype=torch.float64).to(device),
    targets=targets_of(torch.arange(50, device=device) % 10, 10, torch.float64),
    learning_rate=0.01,
    batches=[torch.arange(50, device=device)] * 60,
)

def terminal(path):
    final = path[-1]
    return LossAndAdjoint(final.square().sum(), 2 * final)

expected = ExactUnroll(step).gradients(problem, terminal)
total = torch.cuda.mem_get_info()[1]
torch.cuda.empty_cache()
torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (400 << 20)) / total)
told, plain = [], ExactUnroll(step)
budget = KeepBudget(None, device, notes=told.append)
budget._bytes = 1 << 60
unroll = KeepingUnroll(GraphUnroll(plain, notes=told.append), plain, budget)
for _ in range(3):
    found = unroll.gradients(problem, terminal)
    error = float((found.images - expected.images).norm() / expected.images.norm())
    assert error < 1e-10, error
assert plain.kept_updates < 60, plain.kept_updates
assert "is repeated" in told[0], told
assert not [line for line in told if "captured" in line], told
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
