"""Numbers with their nouns, and cut lists."""

from trajfmt.notebooks.words import counted, listed


def test_one_has_no_s() -> None:
    """Neither has an irregular plural one of its own."""
    assert [counted(n, "knot") for n in (0, 1, 1000)] == ["0 knots", "1 knot", "1,000 knots"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


def test_long_list_keeps_its_ends() -> None:
    """At the limit nothing is cut; above it, the last item still shows."""
    assert listed(range(3), most=3) == "0, 1, 2"
    assert listed(range(4), most=3) == "0, 1, …, 3"
    assert listed(()) == ""
