"""The window of start times."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.starts import Window  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402


@pytest.mark.parametrize(
    ("last", "first", "begin", "steps"), [(20, 0, 10, 1000), (70, 40, 60, 2000), (15, 0, 15, 1)]
)
def test_bound_rises_as_datm_s(last: int, first: int, begin: int, steps: int) -> None:
    """min(max, cur + int((max - cur) it / e)) for whole timesteps, and without rounding for real ones."""
    window = Window(last=last, first=first, ramp_from=begin, ramp_steps=steps)
    for step in (0, 1, steps // 3, steps // 2, steps - 1, steps, 2 * steps):
        exact = begin + (last - begin) * step / steps
        assert window.bound(step, discrete=True) == min(last, begin + int((last - begin) * step / steps))
        assert window.bound(step) == pytest.approx(min(last, exact))
        draws = {window.draw(generator(seed), step, discrete=True) for seed in range(200)}
        assert draws <= set(range(first, int(window.bound(step, discrete=True))))
        real = [window.draw(generator(seed), step, discrete=False) for seed in range(50)]
        assert first <= min(real) <= max(real) < window.bound(step)


@pytest.mark.parametrize("discrete", [False, True])
def test_without_a_ramp_the_step_does_not_matter(discrete: bool) -> None:
    """One number is taken from the generator, so that the draws are those of a bound alone."""
    window, random = Window(last=4.0), generator(3)
    for step in range(20):
        before = random.get_state()
        found = window.draw(random, step, discrete=discrete)
        after, again = random.get_state(), generator(0)
        again.set_state(before)
        if discrete:
            expected = float(torch.randint(4, (1,), generator=again))
        else:
            expected = 4.0 * float(torch.rand(1, generator=again, dtype=torch.float64))
        assert found == expected
        assert torch.equal(again.get_state(), after)


@pytest.mark.parametrize(
    ("window", "fits"),
    [
        (Window(last=6.5, first=6.3), False),
        (Window(last=9, first=6.3, ramp_from=6.4, ramp_steps=10), False),
        (Window(last=9, first=6.3, ramp_from=7, ramp_steps=10), True),
        (Window(last=7.5, first=6.3), True),
    ],
)
def test_whole_starts_lie_in_the_window(window: Window, fits: bool) -> None:
    """A window without a whole timestep is refused; real starts have one in any window."""
    bundle = bundle_of((3,), last=12)
    KnotStream(bundle, expert_steps=1, max_start=window.last, window=lambda _: window).close()
    options = {
        "expert_steps": 1,
        "max_start": window.last,
        "window": lambda _: window,
        "sampling": "discrete",
    }
    if not fits:
        with pytest.raises(ConfigError, match=r"there is none from `min_start` 6\.3 to 6\.[45], the bound"):
            KnotStream(bundle, **options)
        return
    stream = KnotStream(bundle, **options)
    assert {stream.pick(generator(seed), 0)[1] for seed in range(9)} == {7.0}
    stream.close()


def test_an_empty_window_has_one_start() -> None:
    """A ramp that begins at `first`, and a window without width."""
    for window in (Window(last=3, first=3), Window(last=9, first=3, ramp_from=3, ramp_steps=10)):
        assert {window.draw(generator(seed), 0, discrete=True) for seed in range(20)} == {3.0}
        assert {window.draw(generator(seed), 0, discrete=False) for seed in range(20)} == {3.0}
    assert Window(last=2.5, first=0.5).latest(discrete=True) == 2.0
