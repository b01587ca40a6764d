"""Short names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trajfmt.storage.names import short_names

PATHS = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, min_size=1, max_size=5))
def test_different_paths_have_different_names(paths: list[str]) -> None:
    """A name is the end of its path, and two of them are equal only if the paths are."""
    names = short_names(paths)
    assert all(path.endswith(name) for path, name in zip(paths, names, strict=True))
    assert len(set(names)) == len(set(paths))


def test_the_shortest_names_are_taken() -> None:
    """One folder more than needed would be noise."""
    assert short_names(["/x/a.mct", "https://host/b.mct"]) == ["a.mct", "b.mct"]
    assert short_names(["x/a", "y/a", "y/b"]) == ["x/a", "y/a", "y/b"]
    assert short_names(["/"]) == ["/"]
