"""Starts and virtual targets: values, bounds, and that nothing else is made."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import SHAPES, FakeBundle, bundle_of, random_walk  # noqa: E402


def test_one_vector_of_weights_per_sample() -> None:
    """The start is materialised, the target never is."""
    stream = KnotStream(bundle_of((3,)), expert_steps=2, max_start=4)
    random = generator(0)
    for number in range(1, 11):
        stream.draw(random)
        assert stream.materialised == number


def test_convex_starts_are_real_and_fill_the_range() -> None:
    """c is uniform in [0, max_start], target c + M."""
    stream = KnotStream(bundle_of(), expert_steps=2.5, max_start=4)
    random = generator(0)
    samples = [stream.draw(random) for _ in range(300)]
    starts = np.array([sample.start.time for sample in samples])
    assert 0 <= starts.min() < 0.2
    assert 3.8 < starts.max() <= 4
    assert (starts % 1 != 0).any()
    assert all(sample.target.time == sample.start.time + 2.5 for sample in samples)
    assert {sample.start.trajectory for sample in samples} == {0, 1}


@pytest.mark.parametrize(("knots", "sampling"), [(None, "auto"), (None, "discrete"), ((3,), "discrete")])
def test_discrete_starts_are_those_of_mtts_code(knots, sampling) -> None:
    """c is floor of a real one in [0, max_start): `randint(0, max_start)` leaves the end out."""
    stream = KnotStream(bundle_of(knots), expert_steps=2, max_start=3, sampling=sampling)
    random = generator(0)
    assert {stream.draw(random).start.time for _ in range(100)} == {0.0, 1.0, 2.0}


@pytest.mark.parametrize(("bound", "starts"), [(0, {0.0}), (0.5, {0.0}), (1, {0.0}), (1.5, {0.0, 1.0})])
def test_discrete_starts_of_a_small_bound(bound: float, starts) -> None:
    """Timestep 0 is always among them."""
    stream, random = KnotStream(bundle_of(None), expert_steps=2, max_start=bound), generator(0)
    assert {stream.draw(random).start.time for _ in range(30)} == starts


def test_continuous_sampling_of_a_full_bundle_is_refused() -> None:
    """Only a convex bundle has weights between timesteps."""
    with pytest.raises(ConfigError, match="`sampling` must be discrete or auto for a `full` bundle"):
        KnotStream(bundle_of(None), expert_steps=2, sampling="continuous")


def test_latest_discrete_start_may_end_at_the_last_timestep() -> None:
    """Of starts below 7 the last is 6, whose target 8 exists; below 8 it would be 9."""
    assert KnotStream(bundle_of(None), expert_steps=2, max_start=7).max_start == 7
    with pytest.raises(ConfigError, match="a start of up to 7 and a target 2 timesteps later"):
        KnotStream(bundle_of(None), expert_steps=2, max_start=8)


def test_same_generator_same_samples() -> None:
    """Samples depend on the generator alone."""
    draws = []
    for _ in range(2):
        stream, random = KnotStream(bundle_of(), expert_steps=2, max_start=4), generator(5)
        draws.append([stream.draw(random).start.time for _ in range(5)])
    assert draws[0] == draws[1]


def test_max_start_is_as_late_as_possible_when_open() -> None:
    """Without max_start every target still lies on its trajectory."""
    assert KnotStream(bundle_of(), expert_steps=2).max_start == 6
    assert KnotStream(bundle_of(), expert_steps=8).max_start == 0
    stream, random = KnotStream(bundle_of(None), expert_steps=6), generator(0)
    assert {stream.draw(random).start.time for _ in range(50)} == {0.0, 1.0, 2.0}


@pytest.mark.parametrize(("steps", "start"), [(6, 3), (9, None), (9, 0)])
def test_target_beyond_the_end_is_refused(steps: float, start: float | None) -> None:
    """The message names trajectory, T, start and M."""
    with pytest.raises(ConfigError, match=r"trajectory 0 ends at timestep 8") as caught:
        KnotStream(bundle_of(), expert_steps=steps, max_start=start)
    assert f"{steps} timesteps later" in str(caught.value)


def test_target_beyond_a_cut_says_for_what_it_was_cut(tmp_path) -> None:
    """A bundle that was cut for a preset has no timesteps for a longer window."""
    layout = trajfmt.ParamLayout.of([("w", (3,))])
    facts = trajfmt.Provenance(recipe={"cut_for": "some-preset", "cut_after": 4})
    walk = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", provenance=facts) as writer:
        writer.add(trajfmt.ArrayTrajectory(walk, layout))
    with pytest.raises(ConfigError, match="or a bundle that was not cut for the preset some-preset"):
        KnotStream(trajfmt.open(tmp_path / "a.mct"), expert_steps=3, max_start=2)


def test_shortest_trajectory_counts() -> None:
    """Trajectories may differ in length; the one that is too short is named."""
    layout = trajfmt.ParamLayout.of(SHAPES)
    bundle = FakeBundle([random_walk(layout, last) for last in (8, 5, 9)], layout)
    with pytest.raises(ConfigError, match="trajectory 1 ends at timestep 5"):
        KnotStream(bundle, expert_steps=2, max_start=4)


def test_fraction_of_a_full_bundle_is_refused() -> None:
    """M must be whole where only whole timesteps exist."""
    with pytest.raises(ConfigError, match="whole number"):
        KnotStream(bundle_of(None), expert_steps=1.5)


def test_empty_bundle_is_refused() -> None:
    """A bundle without trajectories cannot be drawn from."""
    with pytest.raises(ConfigError, match="no trajectory"):
        KnotStream(bundle_of(count=0), expert_steps=1)


@pytest.mark.parametrize("inserted", [(), (3,)])
def test_real_bundle_gives_trajfmts_weights(tmp_path, inserted) -> None:
    """On a bundle in a file, starts are the weights that trajfmt's own reference gives."""
    layout = trajfmt.ParamLayout.of(SHAPES)
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", knots=inserted) as writer:
        for seed in range(2):
            writer.add(trajfmt.ArrayTrajectory(random_walk(layout, 8, seed), layout))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        stream, random = KnotStream(bundle, expert_steps=2, max_start=6), generator(0)
        for _ in range(20):
            sample = stream.draw(random)
            trajectory = bundle[sample.start.trajectory]
            expected = trajectory.at(sample.start.time)
            np.testing.assert_allclose(sample.weights.numpy(), expected, rtol=1e-6, atol=1e-7)
            target = stream.materialise(sample.target).numpy()
            np.testing.assert_allclose(target, trajectory.at(sample.target.time), rtol=1e-6, atol=1e-7)


def test_start_is_written_where_the_caller_wants_it() -> None:
    """`out` becomes the student's weights; a wrong one is refused."""
    stream, out = KnotStream(bundle_of((3,)), expert_steps=2), torch.empty(32)
    expected = stream.sample(1, 2.5).weights
    found = stream.draw(generator(0), out=out).weights
    assert found is out
    assert stream.sample(1, 2.5, out=out).weights.data_ptr() == out.data_ptr()
    assert torch.equal(out, expected)
    for wrong in (torch.empty(31), torch.empty(32).double()):
        with pytest.raises(ValueError, match=r"`out` must be torch.float32 \(32,\) on cpu, got"):
            stream.sample(1, 2.5, out=wrong)


def test_pick_is_what_draw_draws() -> None:
    """A draw is a pick and a sample."""
    stream = KnotStream(bundle_of((3,)), expert_steps=2)
    one, two = generator(4), generator(4)
    for _ in range(5):
        trajectory, start = stream.pick(one)
        sample = stream.draw(two)
        assert (sample.start.trajectory, sample.start.time) == (trajectory, start)


def test_knots_are_views_on_the_cpu() -> None:
    """No copy of a knot is made on the CPU."""
    bundle = bundle_of()
    knot = KnotStream(bundle, expert_steps=1).knot(0, 1)
    assert knot.data_ptr() == bundle[0].theta[8].__array_interface__["data"][0]
