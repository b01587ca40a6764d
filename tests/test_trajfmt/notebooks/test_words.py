"""Cut lists."""

from trajfmt.notebooks.words import listed


def test_long_list_keeps_its_ends() -> None:
    """At the limit nothing is cut; above it, the last item still shows."""
    assert listed(range(3), most=3) == "0, 1, 2"
    assert listed(range(4), most=3) == "0, 1, …, 3"
    assert listed(()) == ""
