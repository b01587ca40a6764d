"""Alignment of features."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from mct.condensation import students  # noqa: E402
from mct.condensation.features import FeatureAlignment  # noqa: E402
from mct.data.augment import DSA, STRATEGY  # noqa: E402


def test_loss_is_the_sum_of_its_terms(scene_of, synthetic) -> None:
    """Mean features of blocks and embeddings, inner products with class means, and the entropy of real
    images, written out for one network."""
    scene = scene_of(early_weight=0.3, late_weight=0.7, discrimination=0.2)
    network = scene.fresh(torch.Generator().manual_seed(0))
    loss, slope = FeatureAlignment().gradient(scene, network, synthetic, torch.Generator().manual_seed(2))
    random = torch.Generator().manual_seed(2)
    real = torch.stack([scene.real.draw(label, 5, random) for label in range(3)])
    leaf, layers = synthetic.clone().requires_grad_(), network.features
    expected = cross_entropy(network(real.flatten(0, 1)), torch.arange(3).repeat_interleave(5)).detach()
    for weight, part in ((0.3, layers[:3]), (0.7, layers[:7]), (0.7, layers)):
        goals = torch.stack([part(real[label]).mean(0) for label in range(3)]).detach()
        own = torch.stack([part(leaf[2 * label : 2 * label + 2]).mean(0) for label in range(3)])
        expected = expected + weight * (goals - own).square().sum()
    centres = own.flatten(1)
    expected = expected + (goals.flatten(1) - centres).square().sum()
    for label in range(3):
        scores = layers(real[label]).flatten(1).detach() @ centres.T
        expected = expected - 0.2 * scores.log_softmax(1)[:, label].sum()
    (wanted,) = torch.autograd.grad(expected, leaf)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(slope, wanted, rtol=1e-9, atol=1e-9)


def test_gradient_is_that_of_the_loss_with_augmentation(scene_of, synthetic, check_gradient) -> None:
    """Central differences with the same draws."""
    scene, method = scene_of(augment=DSA(STRATEGY, aligned=False)), FeatureAlignment()
    check_gradient(method, scene, synthetic)


def test_accuracies_decide_when_to_train_and_when_to_stop(scene_of, synthetic, monkeypatch) -> None:
    """Training ends when ten accuracies have moved; the network is replaced when ten of updates have not."""
    moving = iter(range(10_000))
    updates, passes, matched = [], [], [0.5]
    monkeypatch.setattr(students, "train", lambda *_: (passes.append(len(updates)) for _ in range(10_000)))

    def accuracy(*_):
        inside = len(passes) > 0 and passes[-1] == len(updates)
        return next(moving) * 0.01 if inside else matched[0]

    monkeypatch.setattr(students, "accuracy", accuracy)

    def run(**settings):
        updates.clear()
        passes.clear()
        scene = scene_of(**{"matches": 100, "passes": 100, **settings})
        FeatureAlignment().step(scene, synthetic, lambda loss, _: updates.append(loss) or synthetic,
                                torch.Generator())  # fmt: skip
        return len(updates), [passes.count(number) for number in range(1, len(updates) + 1)]

    assert run() == (10, [10] * 9 + [0])
    assert run(stop_training=0.5) == (10, [100] * 9 + [0])
    assert run(stop_training=0.5, passes=12, matches=3) == (3, [12, 12, 0])
    assert run(stop_matching=0.0, passes=1, matches=14) == (14, [1] * 13 + [0])
