"""Matching of mean embeddings."""

import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

from torch import nn  # noqa: E402

from mct.condensation import siamese  # noqa: E402
from mct.condensation.embeddings import EmbeddingMatching  # noqa: E402
from mct.data.augment import DSA, STRATEGY  # noqa: E402


class Linear(nn.Module):
    """Embeds images by a matrix A."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(8)
        self.matrix = torch.randn(5, 2 * 8 * 8, generator=random, dtype=torch.float64)
        self.last = nn.Linear(5, 3).double()

    def forward(self, images):
        """Return the logits."""
        return self.last(images.flatten(1) @ self.matrix.T)


def test_gradient_in_a_linear_embedding_has_a_closed_form(scene_of, synthetic) -> None:
    """For every image of a class 2/ipc A^T A (mean synthetic - mean real)."""
    scene, network = scene_of(), Linear()
    loss, slope = EmbeddingMatching().gradient(scene, network, synthetic, torch.Generator().manual_seed(2))
    random, total = torch.Generator().manual_seed(2), 0.0
    for label in range(3):
        real = scene.real.draw(label, 5, random).flatten(1).mean(0)
        own = synthetic[2 * label : 2 * label + 2].flatten(1).mean(0)
        far = network.matrix @ (own - real)
        total += float(far.square().sum())
        for number in range(2):
            found = slope[2 * label + number].flatten()
            torch.testing.assert_close(found, 2 / 2 * network.matrix.T @ far, rtol=1e-10, atol=1e-10)
    assert float(loss) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("model", ["ConvNetD2W3", "ConvNetD2W3BN"])
def test_gradient_is_that_of_the_loss(scene_of, synthetic, check_gradient, model) -> None:
    """Central differences with the same draws; with batch norm, all classes are one batch."""
    scene, method = scene_of(model, augment=DSA(STRATEGY, aligned=False)), EmbeddingMatching()
    check_gradient(method, scene, synthetic)


def test_real_and_synthetic_images_of_a_class_change_in_the_same_way(scene_of, monkeypatch) -> None:
    """If the synthetic images are the real ones, the loss is zero whatever the augmentation."""
    scene = scene_of(augment=DSA(STRATEGY, aligned=False), class_batch=2)
    draws = []
    monkeypatch.setattr(
        siamese, "draw", lambda *words: draws.append(DSA.draw(words[0], 1, 8, words[2])) or draws[-1]
    )
    images = torch.cat(
        [scene.real.draw(label, 2, torch.Generator().manual_seed(label)) for label in range(3)]
    )

    class Same:
        images, classes = scene.real.images, 3

        def draw(self, label, _count, _random):
            return images[2 * label : 2 * label + 2]

    same = replace(scene, real=Same())
    network = scene.fresh(torch.Generator().manual_seed(0))
    for seed in range(6):
        loss, slope = EmbeddingMatching().gradient(same, network, images, torch.Generator().manual_seed(seed))
        assert float(loss) == pytest.approx(0, abs=1e-20)
        assert float(slope.abs().max()) < 1e-10
    assert len({each.family for each in draws}) > 2


def test_images_are_updated_once_with_each_network(scene_of, synthetic) -> None:
    """The network is not trained."""
    updates = []
    EmbeddingMatching().step(
        scene_of(), synthetic, lambda loss, slope: updates.append(loss) or slope, torch.Generator()
    )
    assert len(updates) == 1
