"""What can be added to a bundle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, UsageError
from trajfmt.bundle.validation import validate
from trajfmt.trajectory import PathRecorder

Array = NDArray[np.generic]


class _Read:
    """A trajectory that returns what it is given."""

    def __init__(self, values: Any, timesteps: Any = 3) -> None:
        self.timesteps = timesteps
        self._values = values

    def read(self, t: int, parameter: int) -> Any:
        """Return the same at any time."""
        del t, parameter
        return self._values


@pytest.mark.parametrize("encoding", ["convex", "full"])
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((3, 2)), "a trajectory must have `timesteps` and a method `read`"),
        (None, "a trajectory must have `timesteps` and a method `read`"),
        (_Read([1.0, 2.0]), "timestep 0, parameter `w` must be an array of numpy, got list"),
        (_Read(None), "timestep 0, parameter `w` must be an array of numpy, got NoneType"),
        (_Read(np.zeros(2, np.float32), "3"), "`timesteps` must be a whole number, got '3'"),
        (_Read(np.ma.masked_equal(np.float32([1, 2]), 2)), "parameter `w` has masked elements"),
    ],
)
def test_writers_say_what_they_expect(tmp_path: Path, encoding: str, source: Any, words: str) -> None:
    """Nothing is written, and no mask is dropped."""
    layout = ParamLayout.of([("w", (2,))])
    path = tmp_path / ("a.mct" if encoding == "convex" else "a.mtt")
    told = pytest.raises((TypeError, UsageError), match=re.escape(words))
    with told, trajfmt.create(path, layout, encoding=encoding) as writer:
        writer.add(source)
    assert list(tmp_path.iterdir()) == []


def test_a_trajectory_of_a_bundle_is_not_added_without_its_facts(
    tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path]
) -> None:
    """The message says how to append its bundle, and how to add its weights alone; both work."""
    for encoding in ("convex", "full"):
        with trajfmt.open(write_bundle(layout, walk(layout), encoding=encoding)) as bundle:
            path = tmp_path / f"{encoding}.mtt"
            told = pytest.raises(UsageError, match=r"ConvertOptions\(append=True\)\); its weights alone are")
            with told, trajfmt.create(path, layout, encoding="full") as writer:
                writer.add(bundle[0])  # type: ignore[arg-type]
            with trajfmt.create(path, layout, encoding="full") as writer:
                writer.add(ArrayTrajectory(np.stack(list(bundle[0].rows())), bundle[0].layout))


@pytest.mark.parametrize("kind", ["layers", "dtype", "names"])
def test_a_recorded_trajectory_of_another_layout_is_refused(
    tmp_path: Path, layout: ParamLayout, walk: Callable[..., Array], kind: str
) -> None:
    """Its tables would have columns of other layers, and the bundle would be unsound."""
    other = {
        "layers": layout.regroup("all"),
        "dtype": layout.cast("F64"),
        "names": ParamLayout.of([(f"x{i}", p.shape) for i, p in enumerate(layout.parameters)]),
    }[kind]
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
    recorder = PathRecorder(other)
    for row in walk(layout, seed=1).astype(other.numpy_dtype):
        recorder.add(row)
    told = pytest.raises(UsageError, match=r"recorded with|must have the names")
    with told, trajfmt.append(tmp_path / "a.mct") as writer:
        writer.add(recorder.finish())
    assert validate(tmp_path / "a.mct") == []
    assert len(trajfmt.open(tmp_path / "a.mct")) == 1
