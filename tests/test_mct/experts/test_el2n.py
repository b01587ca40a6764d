"""EL2N scores, against the formula written down once more, and what has none."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset, load  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.experts import el2n  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk, written  # noqa: E402
from trajfmt.torch import layout_of  # noqa: E402

CPU = torch.device("cpu")


def experts(model: trajfmt.Model, *, last: int = 12, count: int = 2) -> FakeBundle:
    """Return trajectories of a network that wander."""
    layout = layout_of(networks.build(model, generator=generator(0)))
    return FakeBundle([random_walk(layout, last, seed) for seed in range(count)], layout, knots=(2,))


def test_scores_are_those_of_the_formula(tmp_path: Path, digits: Dataset, model: trajfmt.Model) -> None:
    """The mean over experts, at timestep 10 of the convexified trajectory, sorted class by class."""
    path = written(tmp_path, experts(model), digits, model)
    found = el2n.of_bundle(path, digits, name="digits", device=CPU)
    network, norms = networks.build(model, generator=generator(0)).double(), []
    with trajfmt.open(path) as bundle, torch.no_grad():
        for trajectory in bundle:
            theta = torch.from_numpy(np.array(trajectory.at(10))).double()
            nn_pieces = theta.split([value.numel() for value in network.parameters()])
            for value, piece in zip(network.parameters(), nn_pieces, strict=True):
                value.copy_(piece.view_as(value))
            error = network(digits.train_images.double()).softmax(1)
            error -= torch.nn.functional.one_hot(digits.train_labels, 10)
            norms.append(error.square().sum(1).sqrt())
    expected = sum(norms) / 2
    with trajfmt.open(path) as bundle:
        weights = [torch.from_numpy(np.array(trajectory.at(10))) for trajectory in bundle]
    start = networks.build(model, generator=generator(0))
    scores = el2n.scores(start, weights, digits.train_images, digits.train_labels)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)
    order = found.order()
    assert [len(images) for images in order] == digits.train_labels.bincount().tolist()
    for label, images in enumerate(order):
        assert bool((digits.train_labels[images] == label).all())
        assert float(scores[images].diff().min()) >= 0
    assert (found.facts["scores"], found.facts["scores_experts"]) == ("el2n", 2)


def test_images_are_scored_as_their_experts_saw_them(
    tmp_path: Path, digits: Dataset, model: trajfmt.Model
) -> None:
    """With the preprocessing of the bundle, and only those of the run."""
    path = written(tmp_path, experts(model), digits, model)
    plain = load("digits", preprocessing=trajfmt.Preprocessing(kind="none")).limited(20)
    found = el2n.of_bundle(path, plain, name="digits", device=CPU)
    assert torch.equal(found.dataset.train_images, digits.limited(20).train_images)
    assert el2n.of_bundle(path, digits, name="digits", device=CPU).dataset is digits


def test_what_has_no_scores_is_refused(tmp_path: Path, digits: Dataset, model: trajfmt.Model) -> None:
    """Trajectories that end too early, running statistics, and another dataset."""

    def of(folder: str, bundle: FakeBundle, known: trajfmt.Model, **facts: str) -> None:
        (tmp_path / folder).mkdir()
        path = written(tmp_path / folder, bundle, digits, known, **facts)
        el2n.of_bundle(path, digits, name="digits", device=CPU)

    with pytest.raises(
        ConfigError, match="EL2N scores are of timestep 10, but a trajectory ends at timestep 9"
    ):
        of("short", experts(model, last=9), model)
    normed = networks.parse("ConvNetD1W4BN", channels=1, image_size=8, classes=10)
    with pytest.raises(ConfigError, match="its networks have buffers"):
        of("buffers", experts(normed), normed)
    with pytest.raises(MismatchError, match="saw the dataset 'CIFAR10'"):
        of("other", experts(model), model, dataset="CIFAR10")
