"""Numbers, deviations and contrasts against closed forms."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

pytest.importorskip("torch")

from mct.reproduce.published import Value
from mct.reproduce.table import Cell, Contrast, Table


def cell(row: str, *means: float, column: str = "1", **more: object) -> Cell:
    """Return a cell with two networks for each seed, one point above and one below its mean."""
    tests = {seed: [mean - 1, mean + 1] for seed, mean in enumerate(means)}
    return Cell(**{"row": row, "column": column, "tests": tests, "planned": 3, **more})  # type: ignore[arg-type]


def test_a_number_is_the_mean_over_seeds() -> None:
    """Over several seeds the deviation is that of their means, with n - 1."""
    found = cell("MCT", 50.0, 52.0, 57.0, published=Value(48.5, 0.2))
    assert found.mean == pytest.approx(53.0)
    assert found.std == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert found.spread_over == "seeds"
    assert found.difference == pytest.approx(4.5)


def test_of_a_single_seed_the_deviation_is_over_networks() -> None:
    """As in the paper, with n; a single network has none."""
    found = cell("MCT", 50.0)
    assert (found.std, found.spread_over) == (1.0, "networks")
    lone = Cell(row="MCT", column="1", tests={0: [40.0]}, planned=1)
    assert (lone.std, lone.spread_over, lone.text) == (None, None, "40.0")


def test_contrasts_are_paired() -> None:
    """The error is that of the differences, however far apart the seeds are."""
    one, other = cell("MCT", 10.0, 50.0, 90.0), cell("MTT", 9.0, 48.0, 87.0)
    found = Contrast(name="x", pairs=((one, other),), published=2.0)
    assert found.differences == pytest.approx([1.0, 2.0, 3.0])
    assert found.mean == pytest.approx(2.0)
    assert found.error == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize(
    ("differences", "published", "verdict"),
    [
        ([1.0, 1.1, 0.9], 2.0, "as in the paper"),
        ([-1.0, -1.1, -0.9], 2.0, "against the paper"),
        ([1.0, 1.1, 0.9], None, "decided"),
        ([1.0, 2.0], 2.0, "undecided"),  # 1.5 ± 0.5: three errors, of which two differences need 12.7
        ([1.0], 2.0, "undecided"),
        ([0.0, 0.0, 0.0], 2.0, "undecided"),
        ([], 2.0, "-"),
    ],
)
def test_a_sign_is_decided_by_a_t_test(
    differences: list[float], published: float | None, verdict: str
) -> None:
    """Few pairs decide only what is far larger than their error."""
    one, other = cell("MCT", *differences), cell("MTT", *(0.0 for _ in differences))
    assert Contrast(name="x", pairs=((one, other),), published=published).verdict == verdict


def test_pairs_of_several_columns_count_once_for_each_seed() -> None:
    """Columns share their seeds, so they are no independent differences; a seed needs all columns."""
    pairs = ((cell("a", 1.0, 5.0), cell("b", 0.0, 0.0)), (cell("a", 3.0, 7.0, 9.0), cell("b", 0.0, 0.0, 0.0)))
    assert Contrast(name="all", pairs=pairs).differences == [2.0, 6.0]


def test_missing_numbers_are_dashes_with_a_reason() -> None:
    """A table with holes is a table, in every format; unfinished seeds are counted."""
    cells = (
        cell("MCT", 50.0, 52.0, published=Value(48.5, 0.2)),
        Cell(row="DC", column="1", tests={}, planned=3, why="this version has no --method dc"),
    )
    contrast = Contrast(name="MCT - DC", pairs=(cells,), published=20.2)  # type: ignore[arg-type]
    table = Table(name="table1", title="Table 1", cells=cells, contrasts=(contrast,), remarks=("A.", "B."))
    lines = [line.split("  ") for line in table.text().splitlines()]
    shown = {words[0]: words[-1].strip() for words in lines if len(words) > 1}
    assert shown["MCT"] == "51.0 ± 1.4 (2 of 3)"
    assert shown["DC"] == "-"
    assert shown["MCT - DC"] == "-"
    assert "- DC: this version has no --method dc" in table.text()
    assert table.text().endswith("A. B.\n")
    facts = json.loads(table.json())
    assert [each["n"] for each in facts["cells"]] == [2, 0]
    assert facts["cells"][0]["networks"] == {"0": [49.0, 51.0], "1": [51.0, 53.0]}
    first, second = csv.DictReader(io.StringIO(table.csv().decode()))
    assert (first["mean_percent"], first["published_percent"], first["difference_points"]) == (
        "51.0",
        "48.5",
        "2.5",
    )
    assert (second["mean_percent"], second["missing"]) == ("", "this version has no --method dc")
