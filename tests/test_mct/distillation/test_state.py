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
        memory={
            "images": {"velocity": torch.randn(now.images.shape, generator=generator(0))},
            "learning_rate": {"velocity": 1 / 3},
        },
        random=generator(1).get_state(),
    )


def remembering(state: State, name: str, change) -> dict:
    """Return the field of a state whose memory of one velocity is changed."""
    velocity = change(state.memory[name]["velocity"])
    return {"memory": {**state.memory, name: {"velocity": velocity}}}


def test_everything_comes_back(tmp_path: Path, state: State) -> None:
    """Every tensor and number in all bits, without the best images and with the last ones as the best."""
    path = tmp_path / "state.safetensors"
    run = replace(state.synthetic.run, selected=Selection(on="heldout", mean=0.5, std=0.1))
    full = replace(state, best=replace(state.synthetic, origin=run), kept_bytes=12345, refused=3)
    rows = torch.randn(len(run.class_names) * 2, 10, generator=generator(2))
    images = state.synthetic.images
    labelled = {"labels": {"velocity": rows + 1}, "images": {"velocity": images - 1, "average": images + 1}}
    soft = replace(
        state, synthetic=state.synthetic.learned({"labels": rows}), memory={**state.memory, **labelled}
    )
    for each in (state, soft, full):
        states.save(path, each)
        found = states.load(path)
        assert found.step == 7
        assert torch.equal(found.synthetic.images, each.synthetic.images)
        assert found.memory.keys() == each.memory.keys()
        for name, memory in each.memory.items():
            assert found.memory[name].keys() == memory.keys()
            for part, value in memory.items():
                assert torch.equal(torch.as_tensor(found.memory[name][part]), torch.as_tensor(value))
        assert torch.equal(found.random, each.random)
        assert (found.refused, found.kept_bytes) == (each.refused, each.kept_bytes)
        assert found.synthetic.origin == each.synthetic.origin
        assert torch.equal(found.result.images, each.result.images)
        assert (found.synthetic.label_logits is None) == (each.synthetic.label_logits is None)
        assert (found.best is None) == (each.best is None)
    assert torch.equal(soft.result.images, images + 1)
    assert found.best.origin == run
    assert torch.equal(found.best.images, state.synthetic.images)


def test_updates_of_one_s_own_remember_nothing_or_anything(tmp_path: Path, state: State) -> None:
    """No memory at all, a counter, or statistics of another shape than the value."""
    path, own = tmp_path / "state.safetensors", {"images": "mine.Plain", "learning_rate": "mine.Counting"}
    run = replace(state.synthetic.run, updates=own)
    for memory in ({"images": {}, "learning_rate": {"count": 3.0, "rows": torch.arange(4.0)}},
                   {"images": {"count": 1.0}, "learning_rate": {}}):  # fmt: skip
        states.save(path, replace(state, synthetic=replace(state.synthetic, origin=run), memory=memory))
        found = states.load(path).memory
        assert found.keys() == memory.keys()
        for name, kept in memory.items():
            assert found[name].keys() == kept.keys()
            for part, value in kept.items():
                assert torch.equal(torch.as_tensor(found[name][part]), torch.as_tensor(value))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: remembering(s, "images", lambda v: v[1:]), "velocity of `images` must be finite and of"),
        (lambda s: remembering(s, "images", lambda v: v / 0), "velocity of `images` must be finite"),
        (lambda s: remembering(s, "learning_rate", lambda _: float("nan")), "velocity of `learning_rate`"),
        (lambda _: {"refused": 8}, "the number of steps is damaged"),
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
