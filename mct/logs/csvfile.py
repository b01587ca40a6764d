"""A CSV file with a row for each step, and a column for each series: `log.csv` in the folder of the run."""

import csv
import io
from collections.abc import Iterable, Mapping

from mct.errors import ExistsError
from mct.logs import series
from mct.logs.logger import Opening
from trajfmt.storage import write_file

FILE = "log.csv"
HEADER = ("step", *series.NAMES)


class CsvLogger:
    """Writes a CSV file, row by row. A cell is empty if a step has no value for it.

    Raises:
        ExistsError: The file has other columns, so that something else has written it.
    """

    def __init__(self, opening: Opening) -> None:
        path = opening.folder / FILE
        rows: list[list[str]] = []
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                found = list(csv.reader(file))
            if found and found[0] != list(HEADER):
                raise ExistsError(f"{path} has other columns than {','.join(HEADER)}; move it away")
            rows = [row for row in found[1:] if len(row) == len(HEADER) and int(row[0]) < opening.first]
        write_file(path, b"".join(_line(row) for row in [HEADER, *rows]))
        self._file = path.open("ab")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row."""
        self._file.write(_line([step, *(values.get(name, "") for name in series.NAMES)]))
        self._file.flush()

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Do nothing: a table has no pictures."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line(cells: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
