"""Networks of an outer step."""

from itertools import islice

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from mct.condensation import students  # noqa: E402
from mct.data.augment import DSA  # noqa: E402
from mct.errors import ConfigError  # noqa: E402


def test_embedding_is_what_the_last_layer_gets(scene_of, synthetic) -> None:
    """For a ConvNet the flattened features; the classifier makes the logits of it."""
    network = scene_of().fresh(torch.Generator().manual_seed(0))
    found = students.embedded(network, synthetic)
    torch.testing.assert_close(found, network.features(synthetic).flatten(1))
    torch.testing.assert_close(students.classifier_of(network)(found), network(synthetic))
    assert network.classifier._forward_pre_hooks == {}
    with pytest.raises(ConfigError, match="no linear layer"):
        students.classifier_of(nn.Conv2d(1, 1, 1))


def test_features_are_those_of_every_block(scene_of, synthetic) -> None:
    """The activations before pooling, and after the last pooling."""
    network = scene_of().fresh(torch.Generator().manual_seed(0))
    embeddings, found = students.features(network, synthetic)
    layers = network.features  # convolution, norm, activation, pooling; twice
    for own, expected in zip(found, (layers[:3], layers[:7], layers), strict=True):
        torch.testing.assert_close(own, expected(synthetic))
    torch.testing.assert_close(embeddings, found[-1].flatten(1))
    for model in ("ConvNetD2W3NP", "AlexNet"):
        with pytest.raises(ConfigError, match="must be a ConvNet with pooling"):
            students.features(
                nn.Linear(1, 1) if model == "AlexNet" else scene_of(model).fresh(torch.Generator()), synthetic
            )


def test_training_is_plain_sgd_on_shuffled_batches(scene_of, synthetic) -> None:
    """Two passes in batches of four, written out; the images are not changed."""
    scene = scene_of(lr_net=0.3)
    network, expected = (scene.fresh(torch.Generator().manual_seed(0)) for _ in range(2))
    before = synthetic.clone()
    passes = list(islice(students.train(scene, network, synthetic, torch.Generator().manual_seed(7)), 2))
    assert len(passes) == 2
    optimizer, random = torch.optim.SGD(expected.parameters(), lr=0.3), torch.Generator().manual_seed(7)
    for _ in range(2):
        for batch in torch.randperm(6, generator=random).split(4):
            optimizer.zero_grad()
            cross_entropy(expected(synthetic[batch]), torch.tensor([0, 0, 1, 1, 2, 2])[batch]).backward()
            optimizer.step()
    for own, other in zip(network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)
    assert torch.equal(synthetic, before)


def test_training_augments_every_image_for_itself(scene_of, synthetic, monkeypatch) -> None:
    """With an augmentation, values are drawn for all images of a batch."""
    seen: list[int] = []
    draw = DSA.draw

    def watched(self, count, size, generator):
        seen.append(count)
        return draw(self, count, size, generator)

    monkeypatch.setattr(DSA, "draw", watched)
    scene = scene_of(augment=DSA("crop"))
    next(students.train(scene, scene.fresh(torch.Generator()), synthetic, torch.Generator()))
    assert seen == [4, 2]


def test_statistics_of_batch_norm_are_frozen_from_real_images(scene_of, synthetic) -> None:
    """They are those of 16 images of each class; the network then treats every image for itself."""
    scene = scene_of("ConvNetD2W3BN")
    network, expected = (scene.fresh(torch.Generator().manual_seed(0)) for _ in range(2))
    students.freeze_statistics(scene, network, torch.Generator().manual_seed(1))
    random = torch.Generator().manual_seed(1)
    expected(torch.cat([scene.real.draw(label, 16, random) for label in range(3)]))
    expected.eval()
    torch.testing.assert_close(network(synthetic), expected(synthetic))
    torch.testing.assert_close(network(synthetic[:1]), network(synthetic)[:1])
    plain, random = scene_of(), torch.Generator().manual_seed(1)
    students.freeze_statistics(plain, plain.fresh(torch.Generator()), random)
    assert torch.equal(random.get_state(), torch.Generator().manual_seed(1).get_state())


def test_accuracy_is_the_mean_over_classes(scene_of) -> None:
    """A network that always answers 1 is right for one of three classes."""

    class One(nn.Module):
        def forward(self, images):
            return torch.tensor([0.0, 1.0, 0.0]).expand(len(images), 3)

    assert students.accuracy(scene_of(), One(), torch.Generator()) == pytest.approx(1 / 3)
