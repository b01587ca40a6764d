"""The samples of one outer step: drawn from the generator alone, and averaged."""

import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import Dataset  # noqa: E402
from mct.distillation.samples import Samples  # noqa: E402
from mct.errors import DivergedError  # noqa: E402
from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.unroll import Gradients  # noqa: E402
from mct.objectives.matching import TrajectoryMatching  # noqa: E402
from mct.runtime.clock import Clock  # noqa: E402
from mct.runtime.ranks import Alone  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.made import made  # noqa: E402
from tests.helpers.threads import in_ranks  # noqa: E402


class Counting:
    """An engine whose gradients are those of a sample's start: one times its first weight."""

    def gradients(self, problem, terminal) -> Gradients:
        """Return the first weight as loss, gradient and slope."""
        terminal([problem.weights])
        first = float(problem.weights[0])
        return Gradients(loss=first, images=torch.full_like(problem.images, first), learning_rate=2 * first)


def samples_of(bundle, network, *, unroll=None, ranks=None, told=None, **settings) -> Samples:
    """Return samples of a fake bundle, two inner steps each."""
    config = DistillConfig(inner_steps=2, expert_steps=2, max_start=3, batch_syn=4, **settings)
    return Samples(
        TrajectoryMatching(KnotStream(bundle, expert_steps=2, max_start=3)), AutogradStep(network),
        unroll or Counting(),
        None if told is None else Counting(), network=network, classes=10, config=config,
        ranks=ranks or Alone(), shard=False, clock=Clock(), notes=print if told is None else told.append,
    )  # fmt: skip


def test_draws_depend_on_the_generator_alone(bundle, network, digits: Dataset) -> None:
    """Three samples at once are three one by one: reading ahead takes nothing from the generator."""
    now = made(digits)
    three, single = (samples_of(bundle, network, samples=count, augment="dsa") for count in (3, 1))
    random, other = generator(5), generator(5)
    for _ in range(2):
        alone = [draw for _ in range(3) for draw in single.draw(now, other)]
        for a, b in zip(three.draw(now, random), alone, strict=True):
            assert a.place == b.place
            assert all(torch.equal(x, y) for x, y in zip(a.batches, b.batches, strict=True))
            assert [each.family for each in a.numbers] == [each.family for each in b.numbers]
            assert [len(batch) for batch in a.batches] == [4, 4]
    assert torch.equal(random.get_state(), other.get_state())


def test_gradients_are_means_over_the_samples(bundle, network, digits: Dataset) -> None:
    """Loss, images and learning rate; without teacher labels nothing is taught."""
    now, samples = made(digits), samples_of(bundle, network, samples=4, augment="none")
    draws = samples.draw(now, generator(1))
    stream = KnotStream(bundle, expert_steps=2, max_start=3)
    firsts = [float(stream.sample(draw.place.trajectory, draw.place.start).weights[0]) for draw in draws]
    found, taught = samples.mean(now, draws)
    mean = sum(firsts) / 4
    assert taught is None
    assert found.loss == pytest.approx(mean, rel=1e-6)
    assert found.learning_rate == pytest.approx(2 * mean, rel=1e-6)
    assert torch.allclose(found.images, torch.full_like(now.images, mean), rtol=1e-5)


def test_processes_share_the_samples(bundle, network, digits: Dataset) -> None:
    """Three samples of two processes: both have the mean of one."""
    now = made(digits)

    def work(ranks):
        samples = samples_of(bundle, network, samples=3, augment="none", ranks=ranks)
        return samples.mean(now, samples.draw(now, generator(1)))[0]

    alone = work(Alone())
    for each in in_ranks(work, 2):
        assert each.loss == pytest.approx(alone.loss, rel=1e-6)
        assert torch.allclose(each.images, alone.images, rtol=1e-5)


def test_a_sample_that_diverged_is_told_to_other_processes(bundle, network, digits: Dataset) -> None:
    """Alone it is an error; with others gradients are not finite for all of them, in the same step."""

    class Diverging(Counting):
        def gradients(self, *_) -> Gradients:
            raise DivergedError("away")

    now = made(digits)

    def work(ranks):
        unroll = Diverging() if ranks.rank == 1 or ranks.size == 1 else None
        samples = samples_of(bundle, network, samples=2, augment="none", ranks=ranks, unroll=unroll)
        return samples.mean(now, samples.draw(now, generator(1)))[0]

    with pytest.raises(DivergedError, match="away"):
        work(Alone())
    assert all(bool(each.images.isnan().all()) for each in in_ranks(work, 2))


def test_full_precision_is_compared_once(bundle, network, digits: Dataset) -> None:
    """Equal gradients are nothing off, and the line is told for the first sample only."""
    told: list[str] = []
    now, samples = made(digits), samples_of(bundle, network, samples=2, augment="none", told=told)
    samples.mean(now, samples.draw(now, generator(1)))
    assert told == ["bf16: the first image gradient is 0.0% off that of float32 (cosine 1.0000)"]
