"""A new objective is a module and a row of the table: everything else takes it as it is."""

from dataclasses import dataclass, replace

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

import trajfmt  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.errors import ConfigError, DivergedError  # noqa: E402
from mct.methods.recipe import Recipe  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.objectives.objective import LossAndAdjoint, Objective, ObjectiveSample, Path, Place  # noqa: E402
from mct.objectives.scene import Scene  # noqa: E402
from mct.objectives.table import OBJECTIVES, FromScene, make_objective, objective_of  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.distilling import assert_same_run, run_whole  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402

CONFIG = DistillConfig(ipc=1, inner_steps=2, expert_steps=2, max_start=3, outer_steps=2, lr_img=0.1, lr_lr=0,
                       lr_init=0.02, augment="none")  # fmt: skip


@dataclass
class HalfNormSample:
    """loss = ||theta_N||^2 / 2, so that lambda_N is theta_N."""

    weights: Tensor

    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return half of the squared norm, and a copy of the weights."""
        final = path[-1]
        adjoint = torch.empty_like(final) if out is None else out
        return LossAndAdjoint(final.double().square().sum() / 2, adjoint.copy_(final))


class HalfNorm:
    """An objective without a target; it keeps a record of what it was asked for."""

    largest_loss = 1e9

    def __init__(self, stream: KnotStream) -> None:
        self._stream = stream
        self.places: list[Place] = []

    def draw(self, generator: torch.Generator, _step: int, /) -> Place:
        """Draw a whole timestep of the first trajectory."""
        start = float(torch.randint(3, (1,), generator=generator))
        return Place(trajectory=0, start=start, target=start)

    def expect(self, place: Place, /) -> None:
        """Load nothing ahead."""

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> ObjectiveSample:
        """Start at the weights of the expert."""
        self.places.append(place)
        position = self._stream.locate(place.trajectory, place.start)
        return HalfNormSample(self._stream.materialise(position, out=out))

    def teacher(self, place: Place, /) -> Tensor:
        """Return the start."""
        return self.begin(place).weights


@pytest.fixture
def bundle(network) -> FakeBundle:
    """Return two random trajectories of the network."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    return FakeBundle([0.1 * random_walk(layout, 8, seed) for seed in range(2)], layout)


@pytest.fixture
def half_norm(monkeypatch) -> None:
    """Add a row to the table."""
    monkeypatch.setitem(OBJECTIVES, "half-norm", HalfNorm)


def distiller_of(bundle, digits, model, config=CONFIG, objective="half-norm") -> Distiller:
    """Return a distiller with the new objective."""
    return Distiller(bundle, digits, model, config, artifact_sha256="0" * 64, objective=objective)


@pytest.mark.usefixtures("half_norm")
def test_new_objective_is_distilled(bundle, digits, model) -> None:
    """The gradient of the images is exact, and the event names the place that the objective drew."""
    distiller = distiller_of(bundle, digits, model)
    before = distiller.initial()
    after, event = distiller.step(before)
    objective = distiller._objective
    assert isinstance(objective, HalfNorm)
    assert (event.trajectory, event.start, event.target) == (0, objective.places[0].start, event.start)

    def loss(images: Tensor) -> Tensor:
        functional = distiller._samples._network
        theta = distiller.stream.materialise(distiller.stream.locate(0, event.start)).requires_grad_()
        labels = before.synthetic.targets
        for _ in range(2):
            value = torch.nn.functional.cross_entropy(functional(theta, images), labels)
            theta = theta - 0.02 * torch.autograd.grad(value, theta, create_graph=True)[0]
        return theta.square().sum() / 2

    images = before.synthetic.images.clone().requires_grad_()
    value = loss(images)
    (expected,) = torch.autograd.grad(value, images)
    assert event.loss == pytest.approx(float(value.detach()), rel=1e-6)
    found = after.memory["images"]["velocity"]  # of the first step: the gradient
    assert float((found - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.usefixtures("half_norm")
def test_limit_is_that_of_the_objective(bundle, digits, model, monkeypatch) -> None:
    """The same loss ends a run, or not."""
    monkeypatch.setattr(HalfNorm, "largest_loss", 1e-9)
    distiller = distiller_of(bundle, digits, model)
    with pytest.raises(DivergedError, match="the student runs away"):
        distiller.step(distiller.initial())


@pytest.mark.usefixtures("half_norm")
def test_teacher_is_that_of_the_objective(bundle, digits, model) -> None:
    """Soft labels come from the weights that the objective names."""
    distiller = distiller_of(bundle, digits, model, replace(CONFIG, labels="teacher"))
    before = distiller.initial()
    state, event = distiller.step(before)
    weights = distiller.stream.materialise(distiller.stream.locate(0, event.start))
    expected = distiller._samples._network.probabilities(weights, before.synthetic.images)
    assert torch.equal(state.synthetic.targets, expected)


def test_class_of_the_user_needs_no_row(bundle, digits, model) -> None:
    """An objective that is passed as it is takes the same step as one that is selected by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OBJECTIVES, "half-norm", HalfNorm)
        named = distiller_of(bundle, digits, model)
        expected, _ = named.step(named.initial())
    own = distiller_of(bundle, digits, model, objective=HalfNorm)
    found, _ = own.step(own.initial())
    assert torch.equal(found.synthetic.images, expected.synthetic.images)


def test_matching_is_the_default(bundle) -> None:
    """It draws what the stream draws, with the target behind it."""
    stream = KnotStream(bundle, expert_steps=2, max_start=3)
    objective: Objective = objective_of(CONFIG)(stream)
    trajectory, start = stream.pick(generator(3))
    assert objective.draw(generator(3), 0) == Place(trajectory=trajectory, start=start, target=start + 2)
    assert objective.largest_loss == 1e4


def test_unknown_objective_is_refused(bundle) -> None:
    """The error names those that exist."""
    with pytest.raises(
        ConfigError, match=f"one of {', '.join(OBJECTIVES)}, or a class of your own, got 'none'"
    ):
        make_objective("none", KnotStream(bundle, expert_steps=2))


class FreshNorm(HalfNorm):
    """The same loss, from the weights of a fresh network; no trajectory is needed."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.places = scene, []

    def draw(self, generator: torch.Generator, step: int, /) -> Place:
        """Draw a seed."""
        return Seeded(step=step, seed=int(torch.randint(2**31, (), generator=generator)))

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> ObjectiveSample:  # noqa: ARG002
        """Start at the weights of the network with this seed."""
        return HalfNormSample(self.scene.fresh(generator(place.seed)))


@dataclass(frozen=True, kw_only=True)
class Seeded(Place):
    """A place on no trajectory."""

    seed: int


def test_objective_from_fresh_networks_needs_no_bundle(digits, model, tmp_path) -> None:
    """Its steps are exact, continue bit for bit, and name no trajectory."""
    recipe = Recipe(name="fresh", objective=FromScene(FreshNorm))
    config = replace(CONFIG, lr_img=1.0)
    distiller = Distiller(None, digits, model, config, artifact_sha256=None, recipe=recipe)
    before = distiller.initial()
    after, event = distiller.step(before)
    assert (event.trajectory, event.start, event.target, distiller.stream) == (None, None, None, None)
    random = torch.Generator()
    random.set_state(before.random)
    seed = int(torch.randint(2**31, (), generator=random))
    weights = networks.flatten(networks.build(model, generator=generator(seed))).detach().requires_grad_()
    images, network = before.synthetic.images.clone().requires_grad_(), distiller._samples._network
    for _ in range(2):
        value = torch.nn.functional.cross_entropy(network(weights, images), before.synthetic.targets)
        weights = weights - 0.02 * torch.autograd.grad(value, weights, create_graph=True)[0]
    (expected,) = torch.autograd.grad(weights.square().sum() / 2, images)
    found = after.memory["images"]["velocity"]
    assert float((found - expected).norm() / expected.norm()) < 1e-3
    for name, steps in (("whole", (2,)), ("parts", (1, 2))):
        for number, last in enumerate(steps):
            own = Distiller(None, digits, model, replace(config, outer_steps=last), artifact_sha256=None,
                            recipe=recipe)  # fmt: skip
            run_whole(own, RunFolder(tmp_path / name), resume=number > 0)
    assert_same_run(RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts"))
    assert synthetic.load(tmp_path / "whole" / "synthetic.safetensors").run.artifact_sha256 is None


def test_what_needs_a_bundle_says_so(digits, model) -> None:
    """Objectives that match trajectories, and settings that ask experts."""
    with pytest.raises(ConfigError, match="the objective needs trajectories; give at least one bundle"):
        Distiller(None, digits, model, CONFIG, artifact_sha256=None)
    recipe = Recipe(name="fresh", objective=FromScene(FreshNorm))
    for setting in ({"initial": "correct"}, {"labels": "learned"}, {"labels": "teacher"}):
        (name, value), *_ = setting.items()
        with pytest.raises(ConfigError, match=f"`{name}` {value} needs experts, and the run has no traject"):
            Distiller(None, digits, model, replace(CONFIG, **setting), artifact_sha256=None, recipe=recipe)
