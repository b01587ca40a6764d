"""What an address names on the hub."""

from __future__ import annotations

import pytest

from trajfmt.errors import UsageError
from trajfmt.storage.hubpath import HubPath, hub_path


@pytest.mark.parametrize(
    ("text", "kind", "repository", "revision", "path", "name"),
    [
        ("hf://me/experts", "model", "me/experts", None, "", "experts"),
        ("hf://me/experts/", "model", "me/experts", None, "", "experts"),
        ("hf://models/me/experts/two.mct", "model", "me/experts", None, "two.mct", "two.mct"),
        ("hf://datasets/me/ex.p-1@v1/a/b@c.mct/", "dataset", "me/ex.p-1", "v1", "a/b@c.mct", "b@c.mct"),
        ("hf://me/experts@refs/pr/3/two.mct", "model", "me/experts", "refs/pr/3", "two.mct", "two.mct"),
        ("hf://spaces/me/experts@a%2Fb", "space", "me/experts", "a/b", "", "experts"),
    ],
)
def test_parts_of_an_address(
    text: str, kind: str, repository: str, revision: str | None, path: str, name: str
) -> None:
    """Kind, repository, revision and folder; its text names the same, and the client reads it likewise."""
    found = hub_path(text)
    assert found == HubPath(kind, repository, revision, path)
    assert found.name == name
    assert hub_path(str(found)) == found
    client = pytest.importorskip("huggingface_hub.utils")
    if hasattr(client, "parse_hf_uri"):
        theirs = client.parse_hf_uri(str(found))
        assert (theirs.type, theirs.id, theirs.revision, theirs.path_in_repo) == (
            kind,
            repository,
            revision,
            path,
        )


@pytest.mark.parametrize(
    "text", ["hf://me", "hf://datasets/me", "hf://", "hf:///me/x", "hf://m e/x", "hf://me/x@"]
)
def test_an_address_that_names_no_repository(text: str) -> None:
    """It is refused with the form that is expected."""
    with pytest.raises(UsageError, match="hf://OWNER/NAME"):
        hub_path(text)


def test_other_addresses() -> None:
    """Buckets have no revisions, and other schemes are not of the hub."""
    assert hub_path("hf://buckets/me/some/two.mct") is None
    assert hub_path("https://huggingface.co/me/experts") is None
