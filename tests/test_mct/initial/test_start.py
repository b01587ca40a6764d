"""The synthetic dataset before the first step, with the experts of a bundle."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.initial.experts import LastExperts  # noqa: E402
from mct.initial.start import start  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402
from tests.helpers.made import origin_of  # noqa: E402


@pytest.fixture
def bundle(network) -> FakeBundle:
    """Return two wandering trajectories of the small network, with one knot between their ends."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    return FakeBundle([0.1 * random_walk(layout, 6, seed) for seed in range(2)], layout, knots=(2,))


def test_experts_are_asked_only_where_settings_need_them(digits) -> None:
    """Random images and hard labels need none."""
    origin = origin_of(digits)
    found = start(digits, origin, generator=generator(0), experts=lambda: pytest.fail("asked"))
    assert found.label_logits is None
    assert found.soft_labels is None


def test_correct_images_and_mean_logits_of_the_last_weights(bundle, digits, model) -> None:
    """They are what the network predicts at the last timestep of each trajectory of a convexified bundle."""
    network = networks.build(model, generator=generator(0))
    stream = KnotStream(bundle, expert_steps=2, max_start=3)
    experts = LastExperts(stream, network, lambda theta: theta)
    logits = []
    for number in range(len(bundle)):
        weights = torch.from_numpy(bundle[number].at(bundle[number].last))
        torch.nn.utils.vector_to_parameters(weights.float(), network.parameters())
        logits.append(network.eval()(digits.train_images).detach())
    found = experts.logits(1, digits.train_images)
    torch.testing.assert_close(found, logits[1], rtol=1e-4, atol=1e-4)
    origin = origin_of(digits, ipc=2)
    config = replace(origin.config, initial="correct", labels="learned")
    made = start(digits, replace(origin, config=config), generator=generator(0), experts=lambda: experts)
    random = start(digits, origin, generator=generator(0))
    assert made.labels.tolist() == random.labels.tolist()
    for number, image in enumerate(made.images):
        place = int((digits.train_images == image).flatten(1).all(1).nonzero()[0, 0])
        label = made.labels[number]
        right = [rows[place] for rows in logits if int(rows[place].argmax()) == label]
        expected = torch.stack(right or [rows[place] for rows in logits]).mean(0)
        torch.testing.assert_close(made.label_logits[number], expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(made.soft_labels, made.label_logits.softmax(1))


def test_noise_is_standard_normal_and_sorted_by_class(digits) -> None:
    """The same for the same seed; learned labels, which begin as what experts say of images, are refused."""
    origin = origin_of(digits, ipc=30)
    noisy = replace(origin, config=replace(origin.config, initial="noise"))
    found, again = (start(digits, noisy, generator=generator(0)) for _ in range(2))
    assert torch.equal(found.images, again.images)
    assert found.labels.tolist() == sorted(list(range(10)) * 30)
    assert found.images.shape == (300, *digits.train_images.shape[1:])
    assert abs(float(found.images.mean())) < 0.03  # standard error 0.007
    assert abs(float(found.images.std()) - 1) < 0.02  # standard error 0.005
    with pytest.raises(ConfigError, match="cannot be combined with `initial` noise"):
        replace(noisy.config, labels="learned")
