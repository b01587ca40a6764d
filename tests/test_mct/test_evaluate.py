"""Training fresh networks: the protocol, the baseline, and what is equal for both."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct import evaluate, networks, synthetic  # noqa: E402
from mct.config import EvaluateConfig  # noqa: E402
from mct.data import Dataset  # noqa: E402
from mct.errors import MismatchError  # noqa: E402
from mct.events import Accuracy, NetworkTrained  # noqa: E402
from mct.seeds import generator  # noqa: E402

from .test_synthetic import made  # noqa: E402

CONFIG = EvaluateConfig(networks=2, epochs=4)


def drain(events) -> tuple[list[NetworkTrained], Accuracy]:
    """Return all events and the result of a generator."""
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as stop:
            return seen, stop.value


def test_protocol_is_sgd_with_one_decay(digits: Dataset, model: trajfmt.Model) -> None:
    """Momentum 0.9, weight decay 5e-4, and a fresh optimizer with a tenth at half of the epochs."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    found = evaluate.train_network(images, labels, model, CONFIG, 0.05, generator(1))
    random = generator(1)
    network = networks.build(model, generator=random)
    for rate in (0.05, 0.005):
        optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
        for _ in range(2):
            order = torch.randperm(20, generator=random)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[order]), labels[order]).backward()
            optimizer.step()
    assert torch.equal(networks.flatten(found), networks.flatten(network))


def test_accuracy_is_the_share_of_hits(digits: Dataset, network: networks.ConvNet) -> None:
    """Blocks do not change it, and the network stays in its mode."""
    images, labels = digits.test_images, digits.test_labels
    whole = evaluate.accuracy_of(network, images, labels)
    assert whole == float(
        (network(images).argmax(1) == labels).float().mean().double().round(decimals=12)
    ) or (abs(whole - float((network(images).argmax(1) == labels).double().mean())) < 1e-12)
    assert evaluate.accuracy_of(network, images, labels, block=7) == whole
    assert network.training


def test_mean_and_deviation_over_networks(digits: Dataset, model: trajfmt.Model) -> None:
    """Every network is an event; the result is mean and population deviation."""
    start = made(digits)
    events, result = drain(evaluate.evaluate(start.images, start.labels, 0.05, digits, model, CONFIG))
    assert [event.network for event in events] == [0, 1]
    a, b = (event.accuracy for event in events)
    assert result.networks == (a, b)
    assert result.mean == pytest.approx((a + b) / 2)
    assert result.std == pytest.approx(abs(a - b) / 2)


def test_same_seed_same_accuracies(digits: Dataset, model: trajfmt.Model) -> None:
    """Evaluation is deterministic, and the seed matters."""
    start = made(digits)
    results = [
        drain(evaluate.evaluate(start.images, start.labels, 0.05, digits, model,
                                EvaluateConfig(networks=2, epochs=4, seed=seed)))[1]
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert results[0] == results[1] != results[2]


def test_baseline_gets_its_best_step_size(digits: Dataset, model: trajfmt.Model) -> None:
    """Every rate is tried with all networks, each once, and the best mean is reported."""
    rates = (0.05, 1e-6, 0.05)
    events, result = drain(evaluate.evaluate_baseline(1, digits, model, CONFIG, rates=rates))
    assert [event.learning_rate for event in events] == [0.05, 0.05, 1e-6, 1e-6]
    means = {rate: sum(e.accuracy for e in events if e.learning_rate == rate) / 2 for rate in rates}
    assert result.mean == max(means.values())
    assert result.learning_rate == max(means, key=means.get)


def test_images_of_another_shape_are_refused(digits: Dataset, model: trajfmt.Model) -> None:
    """The message has both shapes."""
    with pytest.raises(MismatchError, match=r"\(1, 4, 4\).*\(1, 8, 8\)"):
        next(evaluate.evaluate(torch.zeros(2, 1, 4, 4), torch.arange(2), 0.1, digits, model, CONFIG))


def test_comparison_from_a_file(tmp_path: Path, digits: Dataset) -> None:
    """A result file says what to test on; the learned rate is among the baseline's."""
    synthetic.save(tmp_path / synthetic.RESULT_NAME, made(digits), digits)
    for path in (tmp_path, tmp_path / synthetic.RESULT_NAME):
        comparison = evaluate.Comparison.prepare(path, networks=1, epochs=1)
        assert torch.equal(comparison.dataset.test_images, digits.test_images)
        assert comparison.rates[0] == comparison.synthetic.learning_rate
        assert drain(comparison.distilled())[1].learning_rate == comparison.synthetic.learning_rate


def test_comparison_on_another_network(tmp_path: Path, digits: Dataset) -> None:
    """Cross-architecture evaluation takes a model by name."""
    synthetic.save(tmp_path / "a.safetensors", made(digits), digits)
    comparison = evaluate.Comparison.prepare(tmp_path / "a.safetensors", model="ConvNetD1W8BN", epochs=1)
    assert (comparison.model.depth, comparison.model.norm) == (1, "batch")
