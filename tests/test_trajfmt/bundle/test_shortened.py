"""What a recorder says of a training that ended early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from trajfmt.torch import Recorder  # noqa: E402


@pytest.mark.parametrize(
    ("steps", "words"), [(2, ["segments at 3;", "mean of 2 timesteps instead of 5"]), (6, [])]
)
def test_a_mean_of_fewer_timesteps_is_saved_and_told(
    tmp_path: Path, recwarn: Any, steps: int, words: list[str]
) -> None:
    """A training that ended early is not lost, and nothing is said of one that did not."""
    net = torch.nn.Linear(2, 1)
    with Recorder(net, tmp_path / "out.mct", knots=(3,), average=5) as recorder:
        for _ in range(steps):
            with torch.no_grad():
                net.weight.add_(1)
            recorder.step()
    told = [str(warning.message) for warning in recwarn]
    assert len(told) == len(words)
    assert all(word in text for word, text in zip(words, told, strict=True))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert bundle[0].knots == ((0, 3, 6) if steps == 6 else (0, 2))
        assert bundle.manifest.provenance.recipe == {"knots_averaged": 5}
        end = bundle[0].knot(len(bundle[0].knots) - 1) - bundle[0].knot(0)
        assert end[:2].tolist() == pytest.approx([4.0, 4.0] if steps == 6 else [1.5, 1.5])
