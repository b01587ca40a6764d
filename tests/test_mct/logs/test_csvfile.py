"""The CSV file, byte by byte, also after a kill."""

from __future__ import annotations

import pytest

from mct.errors import ExistsError
from mct.logs import series
from mct.logs.csvfile import CsvLogger

HEADER = "step,loss,learning_rate,seconds,memory_mb,accuracy_mean,accuracy_std\n"


def write(opening, step, first: int, after: int, mean: float | None = None) -> None:
    """Log steps."""
    logger = CsvLogger(opening(first))
    for number in range(first, after):
        logger.scalars(number, series.values(step(number, mean)))
    logger.picture(after - 1, "images", b"")
    logger.close()


def test_rows_have_empty_cells_for_what_was_not_measured(opening, step, tmp_path) -> None:
    """Numbers are written so that they are read back exactly."""
    write(opening, step, 3, 4)
    write(opening, step, 4, 5, 0.5)
    third = f"3,{1 / 3!r},0.01,0.5,100.0,,\n"
    assert (tmp_path / "log.csv").read_text() == HEADER + third + "4,0.25,0.01,0.5,100.0,0.5,0.125\n"


def test_a_resumed_run_replaces_later_and_torn_rows(opening, step, tmp_path) -> None:
    """A run that was killed at step 5, in the middle of a row, continues from the state of step 2."""
    write(opening, step, 1, 6)
    whole = (tmp_path / "log.csv").read_bytes()
    (tmp_path / "log.csv").write_bytes(whole[:-20])
    write(opening, step, 3, 6)
    assert (tmp_path / "log.csv").read_bytes() == whole


def test_a_file_of_something_else_is_left_alone(opening, tmp_path) -> None:
    """Its columns tell."""
    (tmp_path / "log.csv").write_text("mine,too\n1,2\n")
    with pytest.raises(ExistsError, match="has other columns"):
        CsvLogger(opening(1))
    assert (tmp_path / "log.csv").read_text() == "mine,too\n1,2\n"
