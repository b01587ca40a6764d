"""Where a bundle is pushed to."""

from __future__ import annotations

import pytest

from trajfmt.errors import UsageError
from trajfmt.share.target import goal


@pytest.mark.parametrize(
    ("target", "revision", "kind", "shown"),
    [
        ("hf://me/x", None, None, "hf://me/x"),
        ("hf://me/x/two.mct", "dev", "dataset", "hf://datasets/me/x@dev/two.mct"),
        ("hf://models/me/x@dev", "dev", "model", "hf://me/x@dev"),
        ("hf://datasets/me/x", None, "dataset", "hf://datasets/me/x"),
    ],
)
def test_what_a_target_means(target: str, revision: str | None, kind: str | None, shown: str) -> None:
    """The address, completed by what the options state."""
    assert str(goal(target, revision, kind)) == shown


@pytest.mark.parametrize(
    ("target", "revision", "kind", "words"),
    [
        ("s3://bucket/x", None, None, "expected hf://OWNER/NAME"),
        ("me/x", None, None, "expected hf://OWNER/NAME"),
        ("hf://buckets/me/x/y", None, None, "expected hf://OWNER/NAME"),
        ("hf://models/me/x", None, "dataset", "a model repository, and not a dataset"),
        ("hf://datasets/me/x", None, "model", "a dataset repository, and not a model"),
        ("hf://spaces/me/x", None, None, "a space holds a program"),
        ("hf://me/x@main", "dev", None, "this is revision main, and not dev"),
    ],
)
def test_targets_that_contradict(target: str, revision: str | None, kind: str | None, words: str) -> None:
    """What the address and an option state differently is refused."""
    with pytest.raises(UsageError, match=words):
        goal(target, revision, kind)
