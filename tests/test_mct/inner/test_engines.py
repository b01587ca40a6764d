"""The inner loop that settings ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from mct.inner.engines import unroll_of  # noqa: E402
from mct.inner.optimized import OptimizedUnroll  # noqa: E402
from mct.inner.optimizers.adam import Adam  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.unroll import ExactUnroll, TeslaUnroll  # noqa: E402
from mct.models.idle import idle_parameters  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from tests.helpers import unrolled  # noqa: E402
from tests.helpers.threads import in_ranks  # noqa: E402
from tests.helpers.unrolled import compare_with, problem_of, relative, whole_graph  # noqa: E402


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, ExactUnroll),
        ({"window": 3}, ExactUnroll),
        ({"gradient": "tesla"}, TeslaUnroll),
        ({"inner_decay": 0.1}, OptimizedUnroll),
        ({"inner_momentum": 0.5}, OptimizedUnroll),
        ({"inner_optimizer": "adam"}, OptimizedUnroll),
    ],
)
def test_plain_descent_has_the_plain_recursion(settings, kind) -> None:
    """Optimisers with a memory, and weight decay, have the other."""
    network, _, _ = problem_of("ConvNetD1W4", 1, None)
    assert type(unroll_of(DistillConfig(**settings), ConvNetStep(network), network, (2, 8, 8))) is kind


def test_settings_reach_the_loop() -> None:
    """Decays of the averages, weight decay, and the parameters that are idle, in packed order."""
    network, problem, target = problem_of("ConvNetD1W4", 3, 4)
    config = DistillConfig(inner_optimizer="adam", inner_betas=(0.7, 0.9), inner_decay=0.1)
    step = ConvNetStep(network)

    def update(*given):
        return unrolled.adam(*given, betas=(0.7, 0.9))

    _, images, rate = whole_graph(
        network, problem, target, None, update, 0.1, idle_parameters(network, (2, 8, 8))
    )
    packed = replace(problem, weights=step.pack(problem.weights))
    found = unroll_of(config, step, network, (2, 8, 8)).gradients(
        packed, compare_with(packed, step.pack(target))
    )
    assert relative(found.images, images) < 1e-11
    assert relative(found.learning_rate, rate) < 1e-11


def test_batches_are_divided_among_processes() -> None:
    """Two processes have the gradients of one, and both the same bits."""
    network, problem, target = problem_of("ConvNetD1W4", 4, 4, soft=True)
    problem, step = replace(problem, labels=True, window=3), ConvNetStep(network)
    packed = replace(problem, weights=step.pack(problem.weights))
    terminal = compare_with(packed, step.pack(target))
    expected = OptimizedUnroll(step, Adam()).gradients(packed, terminal)
    found = in_ranks(lambda ranks: OptimizedUnroll(step, Adam(), shard=ranks).gradients(packed, terminal))
    for each in found:
        assert relative(each.images, expected.images) < 1e-10
        assert relative(each.targets, expected.targets) < 1e-10
        assert (
            each.learning_rate == found[0].learning_rate == pytest.approx(expected.learning_rate, rel=1e-10)
        )
        assert torch.equal(each.images, found[0].images)
