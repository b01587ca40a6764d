"""Arguments of a wrong type are one error that says what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ParamLayout, UsageError
from trajfmt.convert.options import ConvertOptions
from trajfmt.schema.arguments import real, unmasked, whole, wholes
from trajfmt.trajectory import PathRecorder

Array = NDArray[np.generic]


@pytest.mark.parametrize("value", ["1", None, 1.0, [1], np.array([1, 2]), 1j])
def test_a_whole_number_is_one(value: Any) -> None:
    """Also not a float that happens to be whole."""
    with pytest.raises(TypeError, match=r"^`x` must be a whole number, got "):
        whole("x", value)
    with pytest.raises(TypeError, match=r"^`x\[1\]` must be a whole number, got "):
        wholes("x", [3, value])
    assert (whole("x", np.int8(3)), wholes("x", np.array([1, 2]))) == (3, (1, 2))


@pytest.mark.parametrize("value", ["1", None, [1.0], np.array([1.0, 2.0]), 1j])
def test_a_number_is_one(value: Any) -> None:
    """An array of no dimensions is one, too."""
    with pytest.raises(TypeError, match=r"^`t` must be a number, got "):
        real("t", value)
    assert [real("t", each) for each in (1, 2.5, np.float32(0.5), np.array(3.0))] == [1, 2.5, 0.5, 3]


def test_masked_elements_are_no_weights() -> None:
    """A mask that hides nothing is dropped."""
    array = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    with pytest.raises(UsageError, match="theta has masked elements; fill them first"):
        unmasked("theta", array)
    found = unmasked("theta", np.ma.masked_array([1.0, 2.0]))
    assert (type(found), found.tolist()) == (np.ndarray, [1.0, 2.0])
    with pytest.raises(TypeError, match="theta must be an array of numpy, got list"):
        unmasked("theta", [1.0])
    long = pytest.raises(TypeError, match=r"got '1{59}… \(str\)$")
    with long:
        whole("x", "1" * 1000)


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_readers_say_what_they_expect(
    encoding: str, layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path]
) -> None:
    """Trajectories by whole numbers, timesteps by numbers, elements by whole numbers."""
    with trajfmt.open(write_bundle(layout, walk(layout), encoding=encoding)) as bundle:
        item = bundle[np.int64(0)]
        for index in ("0", 1.0, None, (0,)):
            with pytest.raises(TypeError, match="`trajectory` must be a whole number"):
                bundle[index]  # type: ignore[call-overload]
        for call in (item.at, item.locate, item.buffers, lambda t: item.pieces(t, 0, 1)):
            for t in ("1", None, np.array([[1, 2]]) if call == item.at else np.array([1, 2])):
                with pytest.raises(TypeError, match=r"`t(\[0\])?` must be a number, got"):
                    call(t)  # type: ignore[operator]
        with pytest.raises(TypeError, match=r"`k` must be a whole number, got 1\.0"):
            item.knot(1.0)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"`start` must be a whole number, got 0\.0"):
            item.pieces(1, 0.0, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("knots", [(2.5,), ("2",), 2, "2", None])
def test_knots_are_whole_numbers(tmp_path: Path, layout: ParamLayout, knots: Any) -> None:
    """For writers, recorders and conversions."""
    calls: list[Callable[[], object]] = [
        lambda: trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", knots=knots),
        lambda: PathRecorder(layout, knots=knots),
        lambda: ConvertOptions(knots=knots),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"`knots(\[0\])?` must be a (whole number|sequence of whole n)"):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": 5}, "`dataset` must be a text, got 5"),
        ({"select": Path("x")}, "`select` must be a text, got "),
        ({"preprocessing": "zca"}, "`preprocessing` must be a Preprocessing, got 'zca'"),
        ({"timesteps": (0.0, 3)}, "`timesteps[0]` must be a whole number, got 0.0"),
    ],
)
def test_options_of_a_conversion_have_their_types(options: dict[str, Any], words: str) -> None:
    """Before any work."""
    with pytest.raises(TypeError, match=re.escape(words)):
        ConvertOptions(**options)


def test_what_a_bundle_is_created_with_has_its_type(tmp_path: Path, layout: ParamLayout) -> None:
    """Lists and dictionaries are no layout and no provenance."""
    with pytest.raises(TypeError, match="`layout` must be a ParamLayout, got list"):
        trajfmt.create(tmp_path / "a.mtt", [("w", (2,))], encoding="full")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`provenance` must be a Provenance, got dict"):
        trajfmt.create(tmp_path / "a.mtt", layout, encoding="full", provenance={})  # type: ignore[arg-type]


@pytest.mark.parametrize("masked", ["weights", "buffers"])
def test_a_recorder_drops_no_mask(layout: ParamLayout, masked: str) -> None:
    """Neither of weights nor of module buffers; nothing was recorded then."""
    recorder = PathRecorder(layout)
    row = np.ma.masked_equal(np.arange(layout.size, dtype=np.float32), 3 if masked == "weights" else -1)
    held = np.ma.masked_equal(np.arange(3.0), 1 if masked == "buffers" else -1)
    with pytest.raises(UsageError, match="has masked elements"):
        recorder.add(row, {"m": held})
    assert len(recorder) == 0
    with pytest.raises(TypeError, match="the weight vector must be an array of numpy, got list"):
        recorder.add(row.data.tolist())
