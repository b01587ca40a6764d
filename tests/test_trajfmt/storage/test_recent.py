"""What was used last is kept."""

from __future__ import annotations

from trajfmt.storage.recent import recent


def test_the_least_recently_used_is_forgotten() -> None:
    """A second use makes an entry the latest; a forgotten one is made again."""
    held: dict[int, str] = {}
    made: list[int] = []

    def make(key: int) -> str:
        made.append(key)
        return str(key)

    assert [recent(held, key, make, 2) for key in (1, 2, 1, 3, 1, 2)] == ["1", "2", "1", "3", "1", "2"]
    assert made == [1, 2, 3, 2]
    assert list(held) == [1, 2]
