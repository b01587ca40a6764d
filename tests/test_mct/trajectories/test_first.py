"""The first trajectories of a bundle."""

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from mct.trajectories.first import first  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402


def test_samples_are_of_the_first_trajectories_alone() -> None:
    """Every one of them is drawn, and no other, whose ends do not limit the starts either."""
    many, short = bundle_of((3,), count=5), bundle_of(last=4)
    many._items[4] = short[0]
    stream = KnotStream(first(many, 3), expert_steps=2)
    generator = torch.Generator().manual_seed(0)
    assert {stream.pick(generator)[0] for _ in range(200)} == {0, 1, 2}
    assert stream.trajectories == 3
    assert (stream.max_start, KnotStream(many, expert_steps=2).max_start) == (6, 2)
    with pytest.raises(IndexError, match=r"must lie in \[0, 2\], got 3"):
        first(many, 3)[3]


def test_more_than_there_are_is_refused() -> None:
    """The error says how many there are; none at all means all of them."""
    many = bundle_of(count=2)
    assert first(many, None) is many
    with pytest.raises(ConfigError, match="`trajectories` is 3, but the experts have only 2 trajectories"):
        first(many, 3)
    with pytest.raises(ConfigError, match="`trajectories` must be >= 1"):
        DistillConfig(trajectories=0)
