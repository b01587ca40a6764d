"""What continues a run: back from its file bit for bit, or refused."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import Dataset  # noqa: E402
from mct.distillation import state as states  # noqa: E402
from mct.distillation.state import State  # noqa: E402
from mct.errors import CorruptError, MissingError, ResultError  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.results.origin import Selection  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.made import made  # noqa: E402


@pytest.fixture
def state(digits: Dataset) -> State:
    """Return a state after seven steps."""
    now = made(digits)
    return State(
        synthetic=now,
        image_velocity=torch.randn(now.images.shape, generator=generator(0)),
        rate_velocity=1 / 3,
        random=generator(1).get_state(),
    )


def test_everything_comes_back(tmp_path: Path, state: State) -> None:
    """Every tensor and number in all bits, without the best images and with the last ones as the best."""
    path = tmp_path / "state.safetensors"
    run = replace(state.synthetic.run, selected=Selection(on="heldout", mean=0.5, std=0.1))
    full = replace(state, best=replace(state.synthetic, origin=run), kept_bytes=12345)
    for each in (state, full):
        states.save(path, each)
        found = states.load(path)
        assert found.step == 7
        assert torch.equal(found.synthetic.images, each.synthetic.images)
        assert torch.equal(found.image_velocity, each.image_velocity)
        assert torch.equal(found.random, each.random)
        assert (found.rate_velocity, found.kept_bytes) == (each.rate_velocity, each.kept_bytes)
        assert found.synthetic.origin == each.synthetic.origin
        assert (found.best is None) == (each.best is None)
    assert found.best.origin == run
    assert torch.equal(found.best.images, state.synthetic.images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {"image_velocity": s.image_velocity[1:]}, "momentum of the images must be finite and of"),
        (lambda s: {"image_velocity": s.image_velocity / 0}, "momentum of the images must be finite"),
        (lambda _: {"rate_velocity": float("nan")}, "momentum of the learning rate"),
        (lambda _: {"kept_bytes": -1}, "`kept_bytes` must be >= 0, got -1"),
        (lambda s: {"random": s.random[:9]}, "state of the random generator is damaged"),
        (lambda s: {"best": s.synthetic}, "the best images are not of this run"),
    ],
)
def test_states_that_cannot_be_continued(tmp_path: Path, state: State, change, words: str) -> None:
    """One line with the file and what is wrong in it."""
    path = tmp_path / "state.safetensors"
    states.save(path, replace(state, **change(state)))
    with pytest.raises(CorruptError, match=words):
        states.load(path)


def test_files_of_another_kind(tmp_path: Path, state: State, digits: Dataset) -> None:
    """A result is no state, and a missing file is missing."""
    path = tmp_path / "images.safetensors"
    synthetic.save(path, state.synthetic, digits)
    with pytest.raises(ResultError, match="expected a distillation state of version 1"):
        states.load(path)
    with pytest.raises(MissingError):
        states.load(tmp_path / "state.safetensors")
