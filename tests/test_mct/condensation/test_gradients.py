"""Gradient matching."""

import math

import pytest

torch = pytest.importorskip("torch")

from mct.condensation import students  # noqa: E402
from mct.condensation.gradients import GradientMatching, distance, loss_of_class  # noqa: E402
from mct.data.augment import DSA, STRATEGY  # noqa: E402


def test_distance_is_one_minus_the_cosine_of_every_row() -> None:
    """Opposite rows count 2, orthogonal ones 1, parallel ones nothing, and vectors of parameters nothing."""
    found = [
        torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64),
        torch.tensor([1.0, 2.0]),
    ]
    wanted = [
        torch.tensor([[-1.0, 0.0], [5.0, 0.0], [2.0, 2.0]], dtype=torch.float64),
        torch.tensor([9.0, 9.0]),
    ]
    assert float(distance(found, wanted)) == pytest.approx(3, abs=1e-5)
    eps = 1e-6
    expected = 1 + 3 / (3 + eps) + 1 + 1 - 4 / (math.sqrt(2) * math.sqrt(8) + eps)
    assert float(distance(found, wanted)) == pytest.approx(expected, rel=1e-12)
    four = [values.view(*values.shape, 1, 1) for values in (found[0], wanted[0])]
    assert float(distance(four[:1], four[1:])) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("augment", [None, DSA(STRATEGY, aligned=False)], ids=["dc", "dsa"])
def test_gradient_is_that_of_the_loss(scene_of, synthetic, check_gradient, augment) -> None:
    """Central differences of the sum over classes, with the same draws, along a random direction."""
    scene, method = scene_of(augment=augment), GradientMatching()
    check_gradient(method, scene, synthetic)


def test_same_images_have_no_distance(scene_of, synthetic) -> None:
    """Nor a gradient, up to the small number in the denominator."""
    network = scene_of().fresh(torch.Generator().manual_seed(0))
    leaf = synthetic[:2].clone().requires_grad_()
    assert float(loss_of_class(network, synthetic[:2], leaf, 1).detach()) < 1e-3


def test_images_are_updated_with_a_network_that_is_trained_in_between(
    scene_of, synthetic, monkeypatch
) -> None:
    """Three matches have two trainings of four passes on the images of the update before."""
    trained, updated = [], []

    def train(_scene, _network, images, _random):
        trained.append(float(images.mean()))
        while True:
            trained.append("pass")
            yield

    monkeypatch.setattr(students, "train", train)

    def update(loss, slope):
        assert slope.shape == synthetic.shape
        updated.append(float(loss))
        return torch.full_like(synthetic, len(updated)) + 0.1 * synthetic

    GradientMatching().step(scene_of(matches=3, passes=4), synthetic, update, torch.Generator())
    assert len(updated) == 3
    assert trained.count("pass") == 8
    means = [value for value in trained if value != "pass"]
    assert means == pytest.approx([number + 0.1 * float(synthetic.mean()) for number in (1, 2)])
