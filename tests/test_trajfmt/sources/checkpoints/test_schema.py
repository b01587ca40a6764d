"""Which tensors are parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import names_of, opened, refused  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import UsageError  # noqa: E402

TABLES = {
    "attn.mask": torch.triu(torch.full((4, 4), float("-inf")), 1),
    "attn.masked_bias": torch.tensor(-1e9).half(),
    "attn.bias": torch.full((1, 1, 2, 2), float("-inf")),
    "freqs_cis": torch.polar(torch.ones(4, 2), torch.rand(4, 2)),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("mode", ["keep", "interpolate", "drop"])
def test_what_cannot_be_a_weight_and_never_changes_is_a_buffer(
    tmp_path: Path, trained: Any, name: str, mode: Any
) -> None:
    """Masks and complex tables do not stop a conversion; kept, they have their bits, and it is said."""
    states = [state | {name: TABLES[name]} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    collection, _ = opened(folder, buffers=mode)
    assert name not in names_of(collection)
    assert [text for text in collection.notices if text.startswith(f"`{name}` never changes")]
    convert(folder, tmp_path / "out.mct", ConvertOptions(buffers=mode))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        found = bundle[0].buffers(3).get(name)
        if mode == "drop":
            assert found is None
        else:
            assert found is not None
            np.testing.assert_array_equal(found, TABLES[name].numpy())


@pytest.mark.parametrize(("name", "shape"), [("head.weight", (3, 2)), ("head.bias", (3,)), ("scale", (2,))])
def test_weights_that_have_diverged_are_no_buffers(
    tmp_path: Path, trained: Any, name: str, shape: tuple[int, ...]
) -> None:
    """A weight by its name, or a value that changes, is refused."""
    states = [state | {name: torch.full(shape, float("inf"))} for state in trained[0]]
    states[0][name] = torch.full(shape, float("nan")) if name == "scale" else states[0][name]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    assert f"`{name}`" in refused(folder, "non_finite")


@pytest.mark.parametrize("pattern", ["rope.inv_freq", "*.inv_freq", "rope.*"])
def test_tensors_that_the_user_calls_buffers(tmp_path: Path, trained: Any, pattern: str) -> None:
    """They are kept at every stored timestep, and not interpolated."""
    states = [state | {"rope.inv_freq": torch.full((3,), float(t))} for t, state in enumerate(trained[0])]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    assert "rope.inv_freq" in names_of(opened(folder)[0])
    collection, (trajectory,) = opened(folder, buffer_names=(pattern,))
    assert "rope.inv_freq" not in names_of(collection)
    np.testing.assert_array_equal(trajectory.buffers(2)["rope.inv_freq"], np.full(3, 2, np.float32))


def test_a_pattern_for_buffers_that_nothing_matches(tmp_path: Path, trained: Any) -> None:
    """A typing error is not taken for an order."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    with pytest.raises(UsageError, match=r"--buffer rope\.\*: no tensor of .* has such a name"):
        opened(folder, buffer_names=("rope.*",))


def test_quantised_weights_are_no_buffers(tmp_path: Path, trained: Any) -> None:
    """Whole numbers that are called a weight cannot be interpolated, and are not carried without a word."""
    states = [
        state | {"q.weight": torch.full((3, 2), t, dtype=torch.int8)} for t, state in enumerate(trained[0])
    ]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    assert "`q.weight` is I8: weights must be one of" in refused(folder, "mixed_dtypes")


def test_a_value_that_changes_in_the_middle_is_no_fixed_table(tmp_path: Path, trained: Any) -> None:
    """All checkpoints are compared, not only the ends."""
    values = (float("inf"), 5.0, float("inf"), float("inf"))
    states = [state | {"best": torch.tensor(v)} for v, state in zip(values, trained[0], strict=True)]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    assert "`best`" in refused(folder, "non_finite")
