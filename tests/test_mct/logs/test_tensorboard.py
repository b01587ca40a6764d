"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import struct
import warnings

import pytest

pytest.importorskip("tensorboard")

from mct.logs import series
from mct.logs.tensorboard import TensorBoardLogger


def read(folder):
    """Return what TensorBoard reads from a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorBoard's about itself
        found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
        found.Reload()
    return found


def test_series_and_pictures_come_back_without_duplicates(opening, step, tmp_path, png) -> None:
    """A run that was killed at step 5 continues from the state of step 2: every step is there once."""
    first = TensorBoardLogger(opening(1))
    for number in range(1, 6):
        first.scalars(number, series.values(step(number)))
    first.picture(5, "images", png)
    first._writer.flush()  # as the tool does now and then; what follows in its queue is lost by a kill
    second = TensorBoardLogger(opening(3))
    for number in range(3, 7):
        second.scalars(number, series.values(step(number, 0.5 if number == 6 else None)))
    second.picture(6, "images", png)
    second.close()
    first.close()
    found = read(tmp_path / "tensorboard")
    assert sorted(found.Tags()["scalars"]) == sorted(series.NAMES)
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in found.Scalars("loss")] == [
        struct.unpack("f", struct.pack("f", 1 / number))[0] for number in range(1, 7)
    ]
    assert [(event.step, event.value) for event in found.Scalars("accuracy_mean")] == [(6, 0.5)]
    (picture,) = found.Images("images")
    assert picture.step == 6
    assert picture.encoded_image_string.startswith(b"\x89PNG")
