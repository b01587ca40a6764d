"""Sizes in units."""

import pytest

from trajfmt.units import size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (-2_500_000, "-2.5 MB"),
        (3e9, "3.0 GB"),
        (12_345e12, "12345.0 TB"),
    ],
)
def test_the_unit_fits_the_size(count: float, text: str) -> None:
    """Decimal units, of which the last one has no end."""
    assert size(count) == text
