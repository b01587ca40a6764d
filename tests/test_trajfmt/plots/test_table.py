"""Numbers as CSV."""

import csv
import io

import numpy as np

from trajfmt.plots import Table


def test_floats_are_read_back_bit_for_bit() -> None:
    """Every float64 has the digits that identify it, also those of numpy and those that are not finite."""
    values = [0.1 + 0.2, 5e-324, -1.7976931348623157e308, float("inf"), np.float64(1) / 3, np.float32(0.1)]
    rows = list(csv.reader(io.StringIO(Table(("x",), [(value,) for value in values]).csv().decode())))
    assert [float(row[0]) for row in rows[1:]] == [float(value) for value in values]
    assert rows[0] == ["x"]


def test_cells_of_every_kind() -> None:
    """Booleans are words, a missing number is an empty cell, and names are quoted where CSV needs it."""
    table = Table(("name, long", "n", "known", "none"), [('a"b,\nc', 3, True, None), ("é", 0, False, None)])
    assert table.csv().decode() == '"name, long",n,known,none\n"a""b,\nc",3,true,\né,0,false,\n'


def test_names_of_files_that_are_no_text() -> None:
    """A byte that is no UTF-8 is escaped instead of an error."""
    assert Table(("name",), [("a\udcff",)]).csv() == b"name\na\\udcff\n"
