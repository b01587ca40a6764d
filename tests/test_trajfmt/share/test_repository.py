"""A repository on the hub, by its official client."""

from __future__ import annotations

import pytest

from tests.helpers.hub import READ_TOKEN, Hub, Repository
from trajfmt.errors import MissingError, RemoteError, UsageError
from trajfmt.share import repository as module
from trajfmt.storage.hubpath import HubPath

TARGET = HubPath("model", "me/x")


def test_a_new_repository_and_a_branch(mine: Hub) -> None:
    """It exists when it was created, private if that was wanted, and has the branch."""
    found = module.Repository(HubPath("dataset", "me/x", "dev"))
    assert not found.exists()
    for _ in range(2):
        found.create(private=True)
    assert found.exists()
    assert found.is_private()
    main = mine.repositories["datasets/me/x"].branches["main"]
    assert found.head() == (main, None, False)
    for _ in range(2):
        found.create_branch(main)
    assert found.head() == (main, None, True)
    assert mine.repositories["datasets/me/x"].branches == {"main": main, "dev": main}
    assert found.page == f"{mine.url}/datasets/me/x"


def test_files_have_the_hashes_of_the_hub(mine: Hub) -> None:
    """SHA-256 for large files, git's hash for others."""
    mine.repositories["models/me/x"] = made = Repository()
    sha = made.commit({"a/w.safetensors": b"12", "b.json": b"{}"})
    assert module.Repository(TARGET).files(sha) == {
        "a/w.safetensors": "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918",
        "b.json": "9e26dfeeb6e641a33dae4961196235bdb965b21b",
    }


def test_a_branch_that_has_moved(mine: Hub) -> None:
    """Nothing is committed on top of what nobody has looked at."""
    mine.repositories["models/me/x"] = made = Repository()
    first = made.commit({"a": b"1"})
    made.commit({"a": b"2"})
    with pytest.raises(RemoteError, match="has changed meanwhile; run the command again"):
        module.Repository(TARGET).commit({"a": b"3"}, [], "third", first)
    assert made.files() == {"a": b"2"}


def test_a_repository_that_is_gone(mine: Hub) -> None:
    """What can no longer be seen is one line, for a reader of its branch as for its files."""
    found = module.Repository(HubPath("model", "me/x", "dev"))
    for ask in (found.head, found.is_private, lambda: found.files("0" * 40)):
        with pytest.raises(MissingError, match="no such repository"):
            ask()
    assert mine.repositories == {}


def test_a_card_that_the_hub_refuses(mine: Hub) -> None:
    """Its reason is shown, in one line."""
    mine.repositories["models/me/x"] = made = Repository()
    sha = made.commit({})
    mine.card_errors = ['"license" must be one of [mit]']
    with pytest.raises(UsageError, match=r"the hub refuses the card: .*must be one of \[mit\]") as caught:
        module.Repository(TARGET).commit({"README.md": b"---\nlicense: x\n---\n"}, [], "card", sha)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "no token for the hub; log in with `hf auth login`"),
        (READ_TOKEN, "the token does not permit this"),
        ("hf_wrong", "does not accept the token"),
    ],
)
def test_tokens_that_may_not_write(
    mine: Hub, token: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one line that says what to do."""
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(RemoteError, match=words):
        module.Repository(TARGET).create(private=False)
    assert mine.repositories == {}
