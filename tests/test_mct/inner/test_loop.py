"""What the recursion writes besides pixels: the gradients in the targets."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from mct.data.batches import Batches  # noqa: E402
from mct.inner.loop import Loop  # noqa: E402
from mct.inner.steps.step import Products  # noqa: E402
from tests.helpers.unrolled import problem_of  # noqa: E402


def test_rows_of_batches_are_added_up_by_image() -> None:
    """An image that is in several batches, in parts of them, has the sum of its rows."""
    _, problem, _ = problem_of("ConvNetD1W4", 3, size=4, soft=True)
    problem = replace(problem, labels=True)
    loop = Loop.of(problem, Batches(problem.images, problem.batches, None, None))
    expected = torch.zeros_like(problem.targets)
    for step, batch in enumerate(problem.batches):
        for first in range(0, len(batch), 2):
            rows = torch.full((len(batch[first : first + 2]), 3), 1.0 + step + first).double()
            pixels = torch.zeros(len(rows), 2, 8, 8).double()
            loop.add(step, first, Products(rows.sum(), rows, pixels, rows), torch.tensor(-0.5).double())
            expected.index_add_(0, batch[first : first + 2], -0.5 * rows)
    torch.testing.assert_close(loop.close(problem), expected)
    assert Loop.of(replace(problem, labels=False), loop.source).close(problem) is None
