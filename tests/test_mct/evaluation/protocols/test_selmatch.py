"""The protocol `selmatch`: torch's cosine, and two kinds of augmentation."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.data.augment import DSA, Draws  # noqa: E402
from mct.evaluation.protocol import accuracy_of, evaluate, evaluate_baseline  # noqa: E402
from mct.evaluation.protocols import selmatch  # noqa: E402
from mct.evaluation.protocols.protocol import Material  # noqa: E402
from mct.inner.problem import minibatches  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from tests.helpers.generators import drain  # noqa: E402

CONFIG = EvaluateConfig(protocol="selmatch", epochs=3, batch_size=8, networks=1, augment="none")


def trained(images, labels, model):
    """Return a network after the protocol, in a loop of plain torch with its own schedule."""
    random = generator(CONFIG.seed, "test", "network", 0)
    network = networks.build(model, generator=random)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3, eta_min=0.001)
    for _ in range(4):
        for batch in minibatches(20, 8, 3, random):
            loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network


def test_passes_are_those_of_torchs_cosine_and_momentum_goes_on(digits, model) -> None:
    """The learned learning rate has no effect; networks are tested once, after `epochs + 1` passes."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    network = trained(images, labels, model)
    expected = accuracy_of(network, digits.test_images, digits.test_labels)
    for rate in (0.02, 7.0):
        _, found = drain(evaluate(images, labels, rate, digits, model, CONFIG, engine="eager"))
        assert found.mean == pytest.approx(expected, abs=5e-3)
    material = Material(images=images, labels=labels, learning_rate=7.0)
    plan = selmatch.SelMatch().plan(material, model, CONFIG)
    random = generator(CONFIG.seed, "test", "network", 0)
    start = networks.build(model, generator=random)
    (learner,) = plan.learners([start], model, engine="eager", notes=None)
    assert list(plan.run(learner, random)) == [False] * 11 + [True]
    torch.testing.assert_close(learner.weights(), networks.flatten(network).detach(), rtol=1e-3, atol=1e-4)


def test_real_images_are_shifted_and_flipped_and_learned_ones_have_a_family_each() -> None:
    """Every result is among those that the families allow; all of them occur, and nothing else does."""
    config = EvaluateConfig(protocol="selmatch", augment="flip_cutout")
    count, random = 400, generator(3)
    pixels = torch.rand(1, 1, 8, 8, generator=random).expand(count, 1, 8, 8).contiguous()
    learned = torch.arange(count) % 2 == 0
    material = Material(images=pixels, labels=torch.zeros(count).long(), learning_rate=1, learned=learned)
    model = networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10)
    plan = selmatch.FallingPasses(material, model, config)
    found = plan._augmented(pixels, learned, random)
    one = pixels[:1]
    moved = []
    for down in range(-4, 5):
        for right in range(-4, 5):
            values = (torch.tensor([down]), torch.tensor([right]))
            shifted = DSA("crop").apply(one, Draws(family="crop", values=values))
            moved += [shifted, shifted.flip(3)]
    moved = torch.cat(moved)
    kinds = [set(), set()]
    for number, image in enumerate(found):
        hits = (moved == image).flatten(1).all(1).nonzero()[:, 0].tolist()
        holes = int((image == 0).sum())
        if learned[number]:
            plain = [bool(torch.equal(image, each[0])) for each in (one, one.flip(3))]
            assert any(plain) or (holes and bool(((image == one[0]) | (image == 0)).all()))
            kinds[0].add("hole" if holes else plain.index(True))
        else:
            assert hits
            kinds[1].update(hits[:1])
    assert kinds[0] == {"hole", 0, 1}
    assert len(kinds[1]) > 90  # of 162, of which 200 images hit 115 on average


def test_random_real_images_are_trained_once_and_as_real_ones(digits, model, monkeypatch) -> None:
    """There is nothing to choose, as the step size is that of the protocol."""
    seen = []
    monkeypatch.setattr(selmatch, "_moved", lambda pixels, _: seen.append(len(pixels)) or pixels)
    config = EvaluateConfig(protocol="selmatch", epochs=1, batch_size=8, networks=1)
    events, found = drain(evaluate_baseline(2, digits, model, config, rates=(0.01, 0.1, 1.0), engine="eager"))
    assert (len(events), found.learning_rate) == (1, 0.1)
    assert sum(seen) == 40
