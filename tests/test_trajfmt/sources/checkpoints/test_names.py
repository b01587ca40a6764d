"""The parts of a name."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from trajfmt.sources.checkpoints.names import Name, literal, pattern_of


@pytest.mark.parametrize(
    "full", ["epoch=3-step=1200.ckpt", "net[a]_1k-0.5.pth.tar", "a/7/b{x}_2.pt", "last.pt"]
)
def test_the_pattern_of_a_name_matches_it(full: str) -> None:
    """Whatever characters of patterns are in it."""
    assert PurePath(full).match(pattern_of(full))
    assert PurePath(full).match(literal(full))
    name = Name.of(full)
    assert name.pattern(name.numbers) == literal(full)


def test_what_is_before_a_number() -> None:
    """Other numbers and their units are included."""
    assert Name.of("net_1k-0.5-3.pt").before(2) == "net_1k-0.5-"
