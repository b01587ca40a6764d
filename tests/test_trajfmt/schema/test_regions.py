"""The regions that a manifest claims: inside their files, without a common byte, one owner for a file."""

from __future__ import annotations

import numpy as np
import pytest

from trajfmt import CorruptError, FormatError, UnsafeError
from trajfmt.schema.regions import Regions


def regions() -> Regions:
    """Return regions of two files of 100 bytes."""
    return Regions({"a.h5": 100, "b.h5": 100}, "here")


def test_neighbours_and_empty_regions_do_not_overlap() -> None:
    """A region may begin where another ends, and an empty one may be anywhere."""
    found = regions()
    found.claim("a.h5", 50, 50, 0)
    found.claim("a.h5", 0, 50, 0)
    found.claim("a.h5", 20, 0, 0)
    found.claim_all("a.h5", [30], [0], 1)
    found.claim_all("b.h5", [60, 0, 30], [40, 30, 30], 0)
    found.check()


@pytest.mark.parametrize(("start", "size"), [(0, 100), (10, 1), (19, 1), (0, 11), (19, 5), (10, 10)])
@pytest.mark.parametrize("many", [True, False])
def test_a_common_byte_is_refused(start: int, size: int, many: bool) -> None:
    """Whichever way two regions meet, and across trajectories and ways of claiming."""
    found = regions()
    found.claim("a.h5", 10, 10, 0)
    if many:
        found.claim_all("a.h5", [start, 20], [size, 0], 1)
    else:
        found.claim("a.h5", start, size, 1)
    with pytest.raises(UnsafeError, match=r"'a\.h5' must not share bytes") as caught:
        found.check()
    assert caught.value.reason == "size_overflow"


def test_random_regions_overlap_exactly_where_a_count_of_bytes_says_so() -> None:
    """The same answer as counting for every byte who claims it."""
    rng = np.random.default_rng(3)
    answers = set()
    for _ in range(300):
        claimed = np.zeros(100, int)
        found = regions()
        for _ in range(rng.integers(1, 6)):
            start, size = int(rng.integers(90)), int(rng.integers(10))
            claimed[start : start + size] += 1
            found.claim_all("a.h5", [start], [size], 0) if rng.integers(2) else found.claim(
                "a.h5", start, size, 0
            )
        try:
            found.check()
        except UnsafeError:
            assert claimed.max() > 1
        else:
            assert claimed.max() <= 1
        answers.add(bool(claimed.max() > 1))
    assert answers == {True, False}


@pytest.mark.parametrize(("start", "size"), [(0, 101), (100, 1), (2**53, 2**53)])
def test_a_region_beyond_its_file_is_refused(start: int, size: int) -> None:
    """The error names the region, and the trajectory."""
    for claim in (
        lambda: regions().claim("a.h5", start, size, 7),
        lambda: regions().claim_all("a.h5", [0, start], [1, size], 7),
    ):
        with pytest.raises(UnsafeError, match=f"trajectory 7: bytes {start} to {start + size} lie outside"):
            claim()


def test_a_file_that_is_not_listed_is_refused() -> None:
    """Whoever claims it."""
    for claim in (
        lambda: regions().claim("c.h5", 0, 1, 7),
        lambda: regions().claim_all("c.h5", [0], [1], 7),
        lambda: regions().claim_file("c.h5", 7),
    ):
        with pytest.raises(CorruptError, match=r"trajectory 7: file 'c\.h5' is not listed"):
            claim()


def test_a_file_has_one_owner() -> None:
    """The same trajectory may name it twice, another may not."""
    found = regions()
    found.own("a.h5", 0)
    found.own("a.h5", 0)
    found.own("b.h5", 1)
    with pytest.raises(FormatError, match="trajectories 0 and 1 must not share") as caught:
        found.own("a.h5", 1)
    assert caught.value.reason == "manifest_inconsistent"


def test_a_whole_file_leaves_no_room() -> None:
    """A file of module buffers holds nothing else."""
    found = regions()
    found.claim_file("a.h5", 0)
    found.claim("a.h5", 99, 1, 1)
    with pytest.raises(UnsafeError):
        found.check()
