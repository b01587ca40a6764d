"""Labels that are learned as rows, from one outer step to the file of the result."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from mct.distillation import state as states  # noqa: E402
from mct.errors import CorruptError  # noqa: E402
from mct.inner.unroll import Gradients  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime import tensorfile  # noqa: E402
from tests.helpers.distilling import CONFIG, distiller_of  # noqa: E402

ROWS = replace(
    CONFIG, labels="learned", label_form="rows", lr_label=0.5, label_momentum=0.0, clip_average=0.9
)


class Slopes:
    """An engine whose gradient in the labels is 1 in the first column, and -0.5 elsewhere."""

    def gradients(self, problem, terminal) -> Gradients:
        """Return constants, after asking the terminal once, and remember the labels."""
        self.targets = problem.targets
        terminal([problem.weights])
        slopes = torch.full_like(problem.targets, -0.5)
        slopes[:, 0] = 1
        return Gradients(loss=1.0, images=0 * problem.images + 1, learning_rate=0.0, targets=slopes)


@pytest.fixture
def stepped(bundle, digits, model):
    """Return a distiller, its engine, and its state after two steps."""
    engine = Slopes()
    distiller = distiller_of(bundle, digits, model, ROWS, unroll=engine)
    state = distiller.initial()
    assert torch.equal(state.synthetic.soft_labels, torch.eye(10))
    for _ in range(2):
        state, _ = distiller.step(state)
    return distiller, engine, state


def test_rows_follow_their_own_gradient_and_stay_non_negative(stepped) -> None:
    """Every number is free, so that sums change; the student is trained on the rows as they are."""
    _, engine, state = stepped
    expected = torch.eye(10) + 2 * 0.25
    expected[:, 0] = 0
    assert torch.equal(state.synthetic.soft_labels, expected)
    first = torch.eye(10) + 0.25
    first[:, 0] = 0
    first[0, 0] = 0.5
    assert torch.equal(engine.targets, first)
    assert state.synthetic.label_logits is None


def test_rows_and_the_norm_survive_their_files(stepped, tmp_path, digits) -> None:
    """A state gives back every bit; the result has the rows, which `probabilities` divides by their sums."""
    _, _, state = stepped
    states.save(tmp_path / "state.safetensors", state)
    again = states.load(tmp_path / "state.safetensors")
    assert torch.equal(again.synthetic.soft_labels, state.synthetic.soft_labels)
    assert again.memory["images"]["norm"] == state.memory["images"]["norm"] > 0
    assert again.synthetic.origin == state.synthetic.origin
    path = tmp_path / "synthetic.safetensors"
    synthetic.save(path, state.result, digits)
    found = synthetic.load(path)
    assert found.is_rows
    assert torch.equal(found.targets, state.synthetic.soft_labels)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(10))
    assert "rows of class weights" in found._repr_html_()


def test_negative_rows_in_a_file_are_damage(stepped, tmp_path, digits) -> None:
    """The inner loss is not bounded below for them."""
    _, _, state = stepped
    path = tmp_path / "synthetic.safetensors"
    synthetic.save(path, state.result, digits)
    tensors, facts = tensorfile.load(path, kind=synthetic.KIND, version=1)
    tensors["soft_labels"][0, 0] = -0.1
    with pytest.raises(CorruptError, match="learned as rows must be finite and at least 0"):
        synthetic.from_tensors(path, tensors, facts["origin"])
