"""The budget of activations: how it is decided, what it keeps, how it is lowered, and that a run resumes."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.distillation import distiller as distillers  # noqa: E402
from mct.distillation import state as states  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.inner import keeping  # noqa: E402
from mct.inner.keeping import KeepBudget, KeepingUnroll  # noqa: E402
from mct.inner.problem import Problem, targets_of  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.unroll import ExactUnroll  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.objectives.objective import LossAndAdjoint  # noqa: E402
from mct.runtime.execution import Execution  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402

MIB, GIB = 1 << 20, 1 << 30
CPU = torch.device("cpu")
MODEL = networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=5)
FULL = torch.OutOfMemoryError("CUDA out of memory.")


def problem_of(sizes: list[int]) -> tuple[ConvNetStep, Problem]:
    """Return the steps of a small network, and an inner loop with batches of these sizes."""
    network = networks.build(MODEL, generator=generator(0)).double()
    step, random = ConvNetStep(network), generator(1)
    weights = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    problem = Problem(
        weights=step.pack(weights),
        images=torch.randn(6, 1, 8, 8, generator=random, dtype=torch.float64),
        targets=targets_of(torch.arange(6) % 5, 5, torch.float64),
        learning_rate=0.05,
        batches=[torch.arange(size) for size in sizes],
    )
    return step, problem


def terminal(path) -> LossAndAdjoint:
    """Pull every weight to zero."""
    final = path[-1]
    return LossAndAdjoint(float(final.square().sum()), 2 * final)


@pytest.mark.parametrize(
    ("device", "free", "processes", "expected"),
    [
        ("cpu", 80 * GIB, "1", GIB),
        ("cpu", 800 * MIB, "1", 100 * MIB),
        ("cpu", 800 * MIB, "4", 25 * MIB),
        ("cpu", None, "1", 256 * MIB),
        ("cuda", 80 * GIB, "4", 40 * GIB),
    ],
)
def test_what_is_free_decides(device, free, processes, expected, monkeypatch) -> None:
    """A part of it; on a CPU a smaller one, which torchrun's processes share, and never more than 1 GiB."""
    monkeypatch.setattr(keeping, "free_bytes", lambda _: free)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert KeepBudget(None, torch.device(device), notes=pytest.fail).bytes == expected


def test_a_given_budget_is_taken_as_it_is(monkeypatch) -> None:
    """Whatever is free, and whatever the run kept before."""
    monkeypatch.setattr(keeping, "free_bytes", lambda _: pytest.fail("asked"))
    budget = KeepBudget(7, CPU, notes=pytest.fail)
    budget.resume(5)
    assert budget.bytes == 7 * MIB
    assert not budget.lower(3 * MIB)


def test_a_budget_is_recorded_where_loops_vary(monkeypatch) -> None:
    """A short loop keeps little, but the next may keep more, also after the run was resumed."""
    monkeypatch.setattr(keeping, "free_bytes", lambda _: 800 * MIB)
    for varies, expected in ((False, 3 * MIB), (True, 100 * MIB)):
        budget = KeepBudget(None, CPU, varies=varies, notes=[].append)
        budget.used(3 * MIB, 2, 2)
        assert budget.kept == expected


class Watched(ConvNetStep):
    """Counts what is kept, and fails where more is kept than there is room for."""

    def __init__(self, network, room: int) -> None:
        super().__init__(network)
        self.room, self.held = room, 0

    def keep(self, *at):
        """Keep, if there is room."""
        found = super().keep(*at)
        self.held += sum(value.nbytes for value in found[1])
        if self.held > self.room:
            self.held = 0
            raise FULL
        return found


def test_lowered_instead_of_failing() -> None:
    """The loop runs again with half of what was kept when memory ran out, until it fits, and says so."""
    step, problem = problem_of([4] * 12)
    expected = ExactUnroll(step).gradients(problem, terminal)
    network = networks.build(MODEL, generator=generator(0)).double()
    one = sum(
        value.nbytes for value in step.keep(problem.weights, problem.images[:4], problem.targets[:4])[1]
    )
    plain, told = ExactUnroll(Watched(network, room=3 * one)), list[str]()
    budget = KeepBudget(None, CPU, notes=told.append)
    budget._bytes = 12 * one
    unlimited = keeping._LEAST
    keeping._LEAST = 0
    try:
        found = KeepingUnroll(plain, plain, budget).gradients(problem, terminal)
    finally:
        keeping._LEAST = unlimited
    assert torch.allclose(found.images, expected.images, rtol=1e-12, atol=0)
    assert (plain.kept_updates, budget.kept) == (1, one)
    assert len(told) == 1
    assert told[0].startswith("not enough memory on cpu to keep ")
    assert told[0].endswith("and the step is repeated")


def test_nothing_is_kept_where_the_first_update_cannot_be_kept() -> None:
    """The loop is tried once more without keeping anything, and nothing is told of a lower budget."""
    step, problem = problem_of([4] * 3)
    expected = ExactUnroll(step).gradients(problem, terminal)
    network = networks.build(MODEL, generator=generator(0)).double()
    plain = ExactUnroll(Watched(network, room=1))
    budget = KeepBudget(None, CPU, notes=pytest.fail)
    budget.resume(1 << 30)
    found = KeepingUnroll(plain, plain, budget).gradients(problem, terminal)
    assert torch.equal(found.images, expected.images)
    assert (plain.kept_updates, budget.bytes) == (0, 0)


def test_want_of_memory_without_anything_kept_is_raised() -> None:
    """There is nothing to lower; so it is with a budget that the user gave, and with other errors."""
    network = networks.build(MODEL, generator=generator(0)).double()
    _, problem = problem_of([4] * 3)

    class Failing(ConvNetStep):
        error: Exception = FULL

        def gradient(self, *_):
            raise self.error

    plain = ExactUnroll(Failing(network))
    with pytest.raises(torch.OutOfMemoryError):
        KeepingUnroll(plain, plain, KeepBudget(0, CPU, notes=pytest.fail)).gradients(problem, terminal)
    budget = KeepBudget(None, CPU, notes=pytest.fail)
    budget.resume(0)
    with pytest.raises(torch.OutOfMemoryError):
        KeepingUnroll(plain, plain, budget).gradients(problem, terminal)
    Failing.error = RuntimeError("another one")
    with pytest.raises(RuntimeError, match="another one"):
        KeepingUnroll(plain, plain, budget).gradients(problem, terminal)


def test_lowered_where_the_system_gives_no_more(python) -> None:
    """With a real limit of addresses and a budget far above it, less is kept; the gradient is the same."""
    code = """
import pathlib
import resource
import torch
from mct.inner import keeping; from mct.models import networks
from mct.inner.keeping import KeepBudget, KeepingUnroll
from mct.objectives.objective import LossAndAdjoint
from mct.inner.problem import Problem, targets_of
from mct.runtime.seeds import generator
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.unroll import ExactUnroll

torch.set_num_threads(1)
model = networks.parse("ConvNetD3W8", channels=3, image_size=32, classes=10)
network = networks.build(model, generator=generator(0))
step = ConvNetStep(network)
problem = Problem(
    weights=step.pack(torch.nn.utils.parameters_to_vector(network.parameters()).detach()),
    images=torch.randn(10, 3, 32, 32, generator=generator(1)),
    targets=targets_of(torch.arange(10) % 10, 10, torch.float32),
    learning_rate=0.001,
    batches=[torch.arange(10)] * 400,
)

def terminal(path):
    final = path[-1]
    return LossAndAdjoint(float(final.square().sum()), 2 * final)

expected = ExactUnroll(step).gradients(problem, terminal)
told, plain = [], ExactUnroll(step)
budget = KeepBudget(None, torch.device("cpu"), notes=told.append)
budget._bytes = 1 << 40
size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (40 << 20), resource.RLIM_INFINITY))
found = KeepingUnroll(plain, plain, budget).gradients(problem, terminal)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
error = float((found.images - expected.images).norm() / expected.images.norm())
print(error < 1e-4, budget.kept == plain.kept_bytes, plain.kept_updates < 400, "repeated" in told[0])
"""
    assert python(code).split() == ["True"] * 4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 120_000))
def test_what_was_kept_as_a_budget_keeps_the_same(sizes: list[int], budget: int) -> None:
    """The budget is never exceeded, and what was kept, taken as the budget, keeps the same updates."""
    calls: list[tuple[str, int, int]] = []

    class Noted(ConvNetStep):
        def keep(self, theta, pixels, targets):
            found = super().keep(theta, pixels, targets)
            calls.append(("keep", len(targets), sum(value.nbytes for value in found[1])))
            return found

        def gradient(self, theta, pixels, targets):
            calls.append(("gradient", len(targets), 0))
            return super().gradient(theta, pixels, targets)

    network = networks.build(MODEL, generator=generator(0)).double()
    _, problem = problem_of(sizes)
    seen = []
    for allowed in (budget, None):
        plain = ExactUnroll(Noted(network), keep_bytes=seen[-1][1] if allowed is None else allowed)
        plain.gradients(problem, terminal)  # from here on, sizes are known
        calls.clear()
        plain.gradients(problem, terminal)
        assert sum(size for _, _, size in calls) == plain.kept_bytes <= budget
        seen.append((list(calls), plain.kept_bytes))
    assert seen[0] == seen[1]


CONFIG = DistillConfig(
    ipc=1, inner_steps=3, expert_steps=2, max_start=3, outer_steps=6, lr_img=10, lr_lr=1e-4, lr_init=0.02,
    batch_syn=4,
)  # fmt: skip


@pytest.fixture
def distiller(network: networks.ConvNet, digits: Dataset, model: trajfmt.Model, monkeypatch):
    """Return a function that makes a distiller whose steps keep activations."""
    monkeypatch.setattr(distillers, "make_step", lambda network, **_: ConvNetStep(network))
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    walks = [0.1 * random_walk(layout, 6, seed) for seed in range(2)]
    config = replace(CONFIG, engine="compiled")

    def make(**execution) -> Distiller:
        bundle = FakeBundle(walks, layout, knots=(2,))
        return Distiller(
            bundle, digits, model, config, artifact_sha256="ab" * 32, execution=Execution(**execution)
        )

    return make


def test_automatic_by_default_and_told(distiller) -> None:
    """The first step says how much is kept; the gradient is that of a run that keeps nothing."""
    automatic, nothing = distiller(), distiller(keep_mb=0)
    one, _ = automatic.step(automatic.initial())
    two, _ = nothing.step(nothing.initial())
    assert torch.allclose(one.synthetic.images, two.synthetic.images, rtol=1e-4, atol=1e-6)
    assert automatic.notes == ["activations of 3 of 3 inner steps are kept, 0 MiB (--keep-mb auto)"]
    assert (nothing.notes, two.kept_bytes) == ([], None)
    assert one.kept_bytes


def test_processes_of_a_run_keep_what_the_poorest_can(distiller, monkeypatch) -> None:
    """They agree before every step, so that one budget is that of all, and of the state."""
    monkeypatch.setattr(keeping, "free_bytes", lambda _: 80 * GIB)

    class Two:
        """Stands for two processes, of which the other can keep no more than one update."""

        rank, size = 0, 2
        calls = 0

        def sum(self, values) -> None:
            self.calls += 1
            if self.calls == 1:
                values[1] = 40_000

    made = distiller()
    made.ranks = Two()
    state, _ = made.step(made.initial())
    assert 0 < state.kept_bytes <= 40_000


def test_a_resumed_run_keeps_what_it_kept(distiller, tmp_path: Path, monkeypatch) -> None:
    """The state has it, whatever is free now; where it does not fit any more, the run says so and goes on."""
    monkeypatch.setattr(keeping, "free_bytes", lambda _: 8 * 40_000)  # for two of three updates
    first = distiller()
    state, _ = first.step(first.initial())
    states.save(tmp_path / "state.safetensors", state)
    loaded = states.load(tmp_path / "state.safetensors")
    assert 0 < loaded.kept_bytes == state.kept_bytes <= 40_000
    expected, _ = first.step(state)
    for free in (80 * GIB, 2 * state.kept_bytes):  # what fitted once may take more of what is free
        monkeypatch.setattr(keeping, "free_bytes", lambda _, free=free: free)
        again = distiller()
        found, _ = again.step(loaded)
        assert found.kept_bytes == state.kept_bytes
        assert torch.equal(found.synthetic.images, expected.synthetic.images)
    monkeypatch.setattr(keeping, "free_bytes", lambda _: 0)
    poor = distiller()
    found, _ = poor.step(loaded)
    assert found.kept_bytes == 0
    assert [note for note in poor.notes if "may differ by rounding" in note]
