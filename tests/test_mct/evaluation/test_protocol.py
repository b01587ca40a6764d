"""Training and testing fresh networks: MTT's protocol, bit for bit."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data.augment import augmentation  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import MismatchError  # noqa: E402
from mct.evaluation import protocol  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from mct.training.jobs import (  # noqa: E402
    JobPool,
    intraop,
)
from tests.helpers.generators import drain  # noqa: E402
from tests.helpers.made import made  # noqa: E402

CONFIG = EvaluateConfig(networks=2, epochs=4, augment="none")


def published(images, labels, model, rate, epochs, batch_size, random, augment=None):
    """Return MTT's `evaluate_synset`, written as its loop is, with our order of random numbers."""
    network = networks.build(model, generator=random)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs + 1):
        for batch in torch.randperm(len(images), generator=random).split(batch_size):
            pixels = images[batch] if augment is None else augment(images[batch], random)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(pixels), labels[batch]).backward()
            optimizer.step()
        if epoch == epochs // 2 + 1:
            rate *= 0.1
            optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    return network


@pytest.mark.parametrize("epochs", [1, 2, 4, 7])
@pytest.mark.parametrize("augment", ["none", "dsa"])
def test_protocol_is_the_published_one(digits: Dataset, model: trajfmt.Model, epochs, augment) -> None:
    """SGD, one pass more than `epochs`, a fresh optimizer after epoch `epochs // 2 + 1`: bit for bit."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    config = EvaluateConfig(epochs=epochs, augment=augment, batch_size=8)
    found = protocol.train_network(images, labels, model, config, 0.05, generator(1))
    expected = published(images, labels, model, 0.05, epochs, 8, generator(1), augmentation(augment))
    assert torch.equal(networks.flatten(found), networks.flatten(expected))


def test_soft_labels_are_probabilities(digits: Dataset, model: trajfmt.Model) -> None:
    """One-hot probabilities train the network of the classes; others train another."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    hot = torch.nn.functional.one_hot(labels, 10).float()
    hard, same, other = (
        networks.flatten(protocol.train_network(images, y, model, CONFIG, 0.05, generator(1)))
        for y in (labels, hot, (hot + 0.1).div(2))
    )
    assert torch.allclose(hard, same, atol=1e-6)
    assert not torch.allclose(hard, other, atol=1e-3)


def test_accuracy_is_the_share_of_hits(digits: Dataset, network: networks.ConvNet) -> None:
    """Blocks do not change it, and the network stays in its mode."""
    images, labels = digits.test_images, digits.test_labels
    whole = protocol.accuracy_of(network, images, labels)
    assert whole == pytest.approx(float((network(images).argmax(1) == labels).double().mean()), abs=1e-12)
    assert protocol.accuracy_of(network, images, labels, block=7) == whole
    assert network.training


def test_mean_and_deviation_over_networks(digits: Dataset, model: trajfmt.Model) -> None:
    """Every network is an event; the result is mean and population deviation."""
    start = made(digits)
    events, result = drain(protocol.evaluate(start.images, start.labels, 0.05, digits, model, CONFIG))
    assert [event.network for event in events] == [0, 1]
    a, b = (event.accuracy for event in events)
    assert result.networks == (a, b)
    assert result.mean == pytest.approx((a + b) / 2)
    assert result.std == pytest.approx(abs(a - b) / 2)
    assert result.on == "test"


def test_one_network_has_no_deviation() -> None:
    """It would be 0, which says that all networks agree."""
    assert protocol.summarize([0.5], 0.01, on="test").std is None
    assert protocol.summarize([0.5, 0.5], 0.01, on="test").std == 0.0


def test_same_seed_same_accuracies(digits: Dataset, model: trajfmt.Model) -> None:
    """Evaluation is deterministic, and the seed matters."""
    start = made(digits)
    results = [
        drain(protocol.evaluate(start.images, start.labels, 0.05, digits, model,
                                EvaluateConfig(networks=2, epochs=4, seed=seed)))[1]
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert results[0] == results[1] != results[2]


def test_baseline_gets_its_best_step_size(digits: Dataset, model: trajfmt.Model) -> None:
    """Every rate is tried with all networks, each once, and the best mean is reported."""
    rates = (0.05, 1e-6, 0.05)
    events, result = drain(protocol.evaluate_baseline(1, digits, model, CONFIG, rates=rates))
    assert [event.learning_rate for event in events] == [0.05, 0.05, 1e-6, 1e-6]
    means = {rate: sum(e.accuracy for e in events if e.learning_rate == rate) / 2 for rate in rates}
    assert result.mean == max(means.values())
    assert result.learning_rate == max(means, key=means.get)


@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD1W4BN"])
def test_networks_do_not_depend_on_how_many_are_trained_at_once(
    digits: Dataset, name: str, monkeypatch
) -> None:
    """Each is the one that the published loop trains alone; so with threads as without."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    config = EvaluateConfig(networks=3, epochs=6, batch_size=8)
    with intraop(2):
        assert JobPool.sharing(torch.device("cpu"), 3).at_once == 2
        threads = drain(protocol.evaluate(images, labels, 0.05, digits, model, config))
    sharing = JobPool.sharing
    monkeypatch.setattr(JobPool, "sharing", lambda device, _: JobPool.alone(device))
    assert drain(protocol.evaluate(images, labels, 0.05, digits, model, config)) == threads
    monkeypatch.setattr(JobPool, "sharing", sharing)
    for number, event in enumerate(threads[0]):
        random = generator(0, "test", "network", number)
        alone = published(images, labels, model, 0.05, 6, 8, random, augmentation("dsa"))
        assert event.accuracy == protocol.accuracy_of(alone, digits.test_images, digits.test_labels)


def test_compiled_networks_are_as_good(digits: Dataset, model: trajfmt.Model) -> None:
    """Compiled they differ by rounding, which a few updates do not turn into other answers."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    config = EvaluateConfig(networks=2, epochs=2, augment="none")
    with intraop(2):
        eager, compiled = (
            drain(protocol.evaluate(images, labels, 0.05, digits, model, config, engine=engine))[1]
            for engine in ("eager", "compiled")
        )
    assert compiled.networks == pytest.approx(eager.networks, abs=0.01)


def test_images_of_another_shape_are_refused(digits: Dataset, model: trajfmt.Model) -> None:
    """The message has both shapes."""
    with pytest.raises(MismatchError, match=r"\(1, 4, 4\).*\(1, 8, 8\)"):
        next(protocol.evaluate(torch.zeros(2, 1, 4, 4), torch.arange(2), 0.1, digits, model, CONFIG))


def test_accuracy_of_every_class_is_a_mean_over_networks(digits: Dataset, model: trajfmt.Model) -> None:
    """The share of its images that are right; a class without test images has none."""
    images, labels = digits.train_images[:40], digits.train_labels[:40]
    kept = digits.test_labels != 7
    tests = replace(digits, test_images=digits.test_images[kept], test_labels=digits.test_labels[kept])
    _, found = drain(protocol.evaluate(images, labels, 0.05, tests, model, CONFIG, engine="eager"))
    shares = []
    for number in range(2):
        random = generator(CONFIG.seed, "test", "network", number)
        network = protocol.train_network(images, labels, model, CONFIG, 0.05, random).eval()
        hit = network(tests.test_images).argmax(1) == tests.test_labels
        shares.append([float(hit[tests.test_labels == k].double().mean()) for k in range(10)])
    expected = [sum(pair) / 2 for pair in zip(*shares, strict=True)]
    assert found.by_class[7] is None
    others = [k for k in range(10) if k != 7]
    assert [found.by_class[k] for k in others] == pytest.approx([expected[k] for k in others], abs=0.02)
    counts = tests.test_labels.bincount(minlength=10).tolist()
    total = sum(found.by_class[k] * counts[k] for k in others) / sum(counts)
    assert total == pytest.approx(found.mean, abs=1e-12)
