"""Training and recording of experts."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.augment import augmentation  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.data.difficulty import ordered  # noqa: E402
from mct.errors import ConfigError, DivergedError  # noqa: E402
from mct.events import ExpertDone, ExpertEpoch  # noqa: E402
from mct.experts import train  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.expert import ExpertConfig  # noqa: E402
from mct.training.loader import Loader  # noqa: E402
from mct.training.modules import ModuleLearner  # noqa: E402
from mct.training.sharpness import Sharpness  # noqa: E402
from tests.helpers.pupils import Kept, trained  # noqa: E402


def test_timesteps_are_initialisation_and_every_epoch(digits: Dataset, model: trajfmt.Model) -> None:
    """A trajectory has T+1 distinct rows, the first one the network as it was built."""
    events, theta = trained(digits, model)
    start = networks.flatten(networks.build(model, generator=generator(0, "expert", 0)))
    assert [item.shape for item in theta] == [(4, start.numel())] * 2
    assert theta[0].dtype == np.float32
    assert np.array_equal(theta[0][0], start.numpy())
    assert len({row.tobytes() for item in theta for row in item}) == 8
    assert [type(event) for event in events] == ([ExpertEpoch] * 3 + [ExpertDone]) * 2


def test_updates_are_plain_sgd(digits: Dataset, model: trajfmt.Model) -> None:
    """One epoch equals MTT's recipe written down once more."""
    _, theta = trained(
        digits, model, ExpertConfig(experts=1, epochs=1, lr=0.05, batch_size=500, augment="none")
    )
    random = generator(0, "expert", 0)
    network = networks.build(model, generator=random)
    order = torch.randperm(1352, generator=random)
    for batch in (order[:500], order[500:1000], order[1000:]):
        loss = torch.nn.functional.cross_entropy(
            network(digits.train_images[batch]), digits.train_labels[batch]
        )
        grads = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for value, grad in zip(network.parameters(), grads, strict=True):
                value -= 0.05 * grad
    np.testing.assert_allclose(theta[0][1], networks.flatten(network).numpy(), atol=1e-7)


def plainly(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig, expert: int):
    """Return timesteps, losses and accuracies of an expert that is trained as a module, batch by batch."""
    random = generator(config.seed, "expert", expert)
    network = networks.build(model, generator=random).train()
    augment = augmentation(config.augment)
    settings = {"momentum": config.momentum, "weight_decay": config.weight_decay}
    optimizer = torch.optim.SGD(network.parameters(), lr=config.lr, **settings)
    rows, facts = [networks.flatten(network).numpy()], []
    images, labels = dataset.train_images, dataset.train_labels
    for epoch in range(config.epochs):
        total = torch.zeros(2, dtype=torch.float64)
        for batch in torch.randperm(len(labels), generator=random).split(config.batch_size):
            inputs = images[batch] if augment is None else augment(images[batch], random)
            logits = network(inputs)
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            hits = (logits.argmax(1) == labels[batch]).sum()
            total += torch.stack([loss.detach() * len(batch), hits]).double()
        rows.append(networks.flatten(network).numpy())
        facts.append(tuple((total / len(labels)).tolist()))
        if config.lr_decay and epoch == config.epochs // 2 + 1:
            optimizer = torch.optim.SGD(network.parameters(), lr=config.lr / 10, **settings)
    return np.stack(rows), facts


@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD1W4BN"])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_experts_are_those_of_plain_training(digits: Dataset, name: str, at_once: int) -> None:
    """Bit for bit, with all that a recipe can have, however many are trained at once."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    config = ExpertConfig(
        experts=3, epochs=5, lr=0.05, batch_size=500, momentum=0.5, weight_decay=1e-3, lr_decay=True
    )
    store = Kept()
    events = list(train.train_experts(digits, model, config, store, at_once=at_once))
    for expert, theta in enumerate(store.theta):
        rows, facts = plainly(digits, model, config, expert)
        assert np.array_equal(theta, rows)
        own = [event for event in events if isinstance(event, ExpertEpoch) and event.expert == expert]
        assert [(event.loss, event.accuracy) for event in own] == facts
        assert [event.epoch for event in own] == [1, 2, 3, 4, 5]
    assert [event.expert for event in events if isinstance(event, ExpertDone)] == [0, 1, 2]


def test_engine_goes_by_the_updates_of_one_expert(digits: Dataset, model: trajfmt.Model, monkeypatch) -> None:
    """Not by their number: an expert must not depend on how many there are."""
    asked: list[int] = []

    def choose(_: str, updates: int, *_where: object) -> str:
        asked.append(updates)
        return "eager"

    monkeypatch.setattr(train, "choose", choose)
    for count in (1, 2):
        trained(digits, model, ExpertConfig(experts=count, epochs=2, batch_size=500))
    assert asked == [6, 6]


def test_expert_that_diverges_is_named(digits: Dataset, model: trajfmt.Model) -> None:
    """Weights that are not numbers are never handed over."""
    with pytest.raises(DivergedError, match="expert 0: the loss of epoch"):
        trained(digits, model, ExpertConfig(experts=1, epochs=30, lr=1e30))


def test_experts_depend_on_seed_and_number_alone(digits: Dataset, model: trajfmt.Model) -> None:
    """A larger set starts with the smaller one, bit for bit."""
    small = trained(digits, model, ExpertConfig(experts=1, epochs=1))[1]
    large = trained(digits, model, ExpertConfig(experts=2, epochs=1))[1]
    other = trained(digits, model, ExpertConfig(experts=1, epochs=1, seed=1))[1]
    assert np.array_equal(small[0], large[0])
    assert not np.array_equal(small[0], large[1])
    assert not np.array_equal(small[0], other[0])


def test_recording_every_few_steps(digits: Dataset, model: trajfmt.Model) -> None:
    """With 3 steps an epoch, 2 epochs and a record every 2 steps there are 3 records."""
    config = ExpertConfig(experts=1, epochs=2, batch_size=500, steps_per_timestep=2)
    events, theta = trained(digits, model, config)
    assert theta[0].shape[0] == 4
    assert events[-1].timesteps == 4


def test_augmentation_is_part_of_the_recipe(digits: Dataset, model: trajfmt.Model) -> None:
    """With it an expert takes another way, and the same one again for the same seed."""
    plain = trained(digits, model, ExpertConfig(experts=1, epochs=1, augment="none"))[1]
    dsa = trained(digits, model, ExpertConfig(experts=1, epochs=1))[1]
    again = trained(digits, model, ExpertConfig(experts=1, epochs=1))[1]
    assert np.array_equal(dsa[0], again[0])
    assert np.array_equal(dsa[0][0], plain[0][0])
    assert not np.array_equal(dsa[0][1], plain[0][1])


def test_step_size_decays_where_mtt_lets_it(digits: Dataset, model: trajfmt.Model) -> None:
    """With 5 epochs the fifth is the first with a tenth: MTT switches after epoch number 5 // 2 + 1 = 3."""
    settings = {"experts": 1, "epochs": 5, "lr": 0.05, "batch_size": 2000, "augment": "none"}
    constant = trained(digits, model, ExpertConfig(**settings))[1][0].astype(np.float64)
    decayed = trained(digits, model, ExpertConfig(**settings, lr_decay=True))[1][0].astype(np.float64)
    assert np.array_equal(constant[:5], decayed[:5])
    full, tenth = constant[5] - constant[4], decayed[5] - decayed[4]
    np.testing.assert_allclose(tenth, full / 10, atol=1e-7)


def test_epochs_pass_over_the_images_of_the_curriculum(digits: Dataset, model: trajfmt.Model) -> None:
    """One epoch is plain training on the easiest three quarters; the loss is the mean over these images."""
    order = ordered(torch.rand(1352, generator=generator(5)), digits.train_labels, 10)
    config = ExpertConfig(experts=1, epochs=1, batch_size=500, lr=0.05, curriculum="pad")
    store = Kept()
    (epoch, _) = train.train_experts(digits, model, config, store, order=order)
    easy = torch.cat([images[: int(0.75 * len(images))] for images in order])
    part = replace(digits, train_images=digits.train_images[easy], train_labels=digits.train_labels[easy])
    plain = ExpertConfig(experts=1, epochs=1, batch_size=500, lr=0.05)
    (expected, _), theta = trained(part, model, plain)
    assert np.array_equal(store.theta[0], theta[0])
    assert epoch == expected
    for given, settings in ((None, config), (order, plain)):
        with pytest.raises(
            ConfigError, match=r"`curriculum` is .* order of the images by difficulty is given"
        ):
            list(train.train_experts(digits, model, settings, Kept(), order=given))


@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD1W4BN"])
def test_sharpness_is_a_setting_of_experts(digits: Dataset, name: str) -> None:
    """Experts are those of sharpness-aware updates, on the batches of plain training."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    config = ExpertConfig(
        experts=1, epochs=2, batch_size=500, lr=0.05, sharpness=0.5, surrogate_gap=0.3, lr_decay=False
    )
    theta = trained(digits, model, config)[1][0]
    random = generator(0, "expert", 0)
    network = networks.build(model, generator=random).train()
    learner = ModuleLearner(network, momentum=0.0, weight_decay=0.0, sharpness=Sharpness(0.5, 0.3))
    learner.begin(0.05)
    source = Loader(
        digits.train_images, digits.train_labels, classes=10, size=500, augment=augmentation("dsa")
    )
    for batch in source.batches(2, random):
        learner.update(batch)
    assert np.array_equal(theta[2], learner.weights().numpy())
