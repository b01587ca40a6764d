"""Between logits and probabilities."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.sets import labels  # noqa: E402
from tests.foreign_sets.opening import HARD, LOGITS, SOFT  # noqa: E402


def test_log_probabilities_have_the_same_distribution() -> None:
    """softmax(logits(p)) is p, zeros and ones included, to float32 rounding; class numbers become exact."""
    rows = torch.cat([SOFT, torch.nn.functional.one_hot(HARD[:3], 10).float(), torch.full((1, 10), 0.1)])
    rows[1] = torch.tensor([1e-30, 1 - 1e-7] + [0.0] * 8)
    found = labels.logits(rows, "probabilities", None)
    assert bool(found.isfinite().all())
    assert torch.allclose(found.softmax(1), rows, rtol=2e-5, atol=0)
    assert torch.equal(found.softmax(1) == 0, rows == 0)
    assert torch.equal(
        labels.logits(HARD, "classes", 10).softmax(1), torch.nn.functional.one_hot(HARD, 10) * 1.0
    )
    assert torch.equal(labels.logits(LOGITS, "logits", None), LOGITS)
