"""Bundles on their way to a hub: one commit, nothing lost, nothing sent twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.hub import Hub, Repository, content
from trajfmt import CorruptError, ExistsError, MissingError, RemoteError, UsageError
from trajfmt.bundle.validation import validate
from trajfmt.share.pull import pull
from trajfmt.share.push import push

from .conftest import LAYOUT

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the client's own call of httpx
    pytest.mark.usefixtures("mine"),
]


def sent(hub: Hub) -> int:
    """Return how many large files have been sent."""
    return sum(entry.startswith("PUT /lfs/") for entry in hub.asked)


@pytest.mark.parametrize("name", ["two.mct", "two.mtt"])
@pytest.mark.parametrize("target", ["hf://me/experts", "hf://datasets/me/experts@dev/deep/two"])
def test_a_bundle_goes_there_and_comes_back(
    mine: Hub, make: Callable[..., Path], tmp_path: Path, name: str, target: str
) -> None:
    """In one commit, beside its descriptions; what is pulled is the same bytes."""
    bundle = make(name)
    done = push(bundle, target, private=True, license="mit")
    kind, inside, branch = (
        ("datasets", "deep/two/", "dev") if "datasets" in target else ("models", "", "main")
    )
    repository = mine.repositories[f"{kind}/me/experts"]
    assert repository.private
    assert repository.messages == ["initial commit", f"Add {name}"]
    assert done.commit == repository.branches[branch]
    besides = {".gitattributes", "README.md", f"{inside}croissant.json"}
    if kind == "models" and name.endswith(".mct"):
        besides.add("model.safetensors.index.json")
    files = repository.files(branch)
    assert files.keys() == content(bundle, inside.rstrip("/")).keys() | besides
    assert b'license: "mit"' in files["README.md"]
    assert json.loads(files[f"{inside}croissant.json"])["license"] == "mit"
    assert validate(target) == []
    pull(target, tmp_path / "back")
    assert content(tmp_path / "back") == content(bundle)


def test_the_viewer_finds_the_knots(bundle: Path) -> None:
    """The client that asks for the tensors of the repository gets those of the first trajectory."""
    push(bundle, "hf://me/experts")
    client = pytest.importorskip("huggingface_hub").HfApi()
    found = client.get_safetensors_metadata("me/experts")
    assert found.sharded
    tensors = found.files_metadata["knots/00000.safetensors"].tensors
    assert tensors["00005/features.0.weight"].shape == [20, 5]
    assert set(found.weight_map) == set(tensors)


def test_a_second_push_has_nothing_to_do(mine: Hub, bundle: Path) -> None:
    """No commit and no upload, and the license of the first stays."""
    first = push(bundle, "hf://me/experts", license="mit")
    requests = sent(mine)
    again = push(bundle, "hf://me/experts")
    assert (first.changed, again.changed) == (True, False)
    assert again.commit == first.commit
    assert sent(mine) == requests
    with pytest.raises(UsageError, match="states the license mit, not gpl"):
        push(bundle, "hf://me/experts", license="gpl-3.0")


def test_a_bundle_that_has_grown_replaces_what_was_there(mine: Hub, bundle: Path, walk: Any) -> None:
    """Only what is new is sent, and the card that somebody has edited stays."""
    push(bundle, "hf://me/experts", license="mit")
    repository = mine.repositories["models/me/experts"]
    repository.commit({**repository.files(), "README.md": b"---\nlicense: mit\n---\nmine"})
    with trajfmt.append(bundle) as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(LAYOUT, seed=5), LAYOUT))
    before = sent(mine)
    push(bundle, "hf://me/experts")
    assert sent(mine) - before == 3  # knots, tables and pieces
    assert repository.files()["README.md"].endswith(b"mine")
    assert json.loads(repository.files()["croissant.json"])["license"] == "mit"
    assert len(trajfmt.open("hf://me/experts")) == 3


def test_another_bundle_is_replaced_by_force_alone(
    mine: Hub, bundle: Path, make: Callable[..., Path]
) -> None:
    """Its files go, and those that are not a bundle's stay."""
    push(bundle, "hf://me/experts")
    repository = mine.repositories["models/me/experts"]
    repository.commit({**repository.files(), "knots/mine.txt": b"mine"})
    other = make("other.mct", seed=9, count=1)
    with pytest.raises(ExistsError, match="another bundle is there; push to another folder"):
        push(other, "hf://me/experts")
    assert push(other, "hf://me/experts", force=True).changed
    files = repository.files()
    assert files["knots/mine.txt"] == b"mine"
    assert "knots/00001.safetensors" not in files
    assert validate("hf://me/experts") == []
    with trajfmt.open(other) as plain, trajfmt.open("hf://me/experts") as found:
        assert np.array_equal(plain[0].at(2), found[0].at(2))
    push(bundle, "hf://me/experts/first.mct")
    assert validate("hf://me/experts/first.mct") == validate("hf://me/experts") == []


def test_a_new_branch_begins_with_main(mine: Hub, bundle: Path, make: Callable[..., Path]) -> None:
    """Another bundle there replaces that of main, whose files and card stay on main."""
    push(bundle, "hf://me/experts", license="mit")
    repository = mine.repositories["models/me/experts"]
    before = repository.files()
    same = push(bundle, "hf://me/experts@v1")
    assert same.changed
    assert repository.branches["v1"] == repository.branches["main"] == same.commit
    other = make("other.mct", seed=9, count=1)
    push(other, "hf://me/experts", revision="v2")
    assert repository.files() == before
    assert repository.files("v2")["README.md"] == before["README.md"]
    assert "knots/00001.safetensors" not in repository.files("v2")
    for branch, path in (("main", bundle), ("v1", bundle), ("v2", other)):
        assert validate(f"hf://me/experts@{branch}") == []
        assert content(path).items() <= repository.files(branch).items()
    with pytest.raises(ExistsError, match="another bundle is there"):
        push(bundle, "hf://me/experts", revision="v2")


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "manifest.json"])
def test_other_files_are_replaced_by_force_alone(mine: Hub, bundle: Path, name: str) -> None:
    """A repository that holds something else, such as a model, is not overwritten by a bundle."""
    mine.repositories["models/me/x"] = made = Repository()
    made.commit({name: b"<html>", "config.json": b"{}"})
    with pytest.raises(ExistsError, match="is there; push to another folder"):
        push(bundle, "hf://me/x")
    push(bundle, "hf://me/x", force=True)
    assert made.files()["config.json"] == b"{}"
    assert validate("hf://me/x") == []


def test_an_upload_that_breaks_off_goes_on(mine: Hub, bundle: Path) -> None:
    """Nothing is committed before everything is there; what was sent is not sent again."""
    mine.refuse_after = 2
    with pytest.raises(RemoteError, match=r"the upload failed: .*; run the same command again to continue"):
        push(bundle, "hf://me/experts")
    assert mine.repositories["models/me/experts"].messages == ["initial commit"]
    there = set(mine.objects)
    assert len(there) == 2
    mine.refuse_after = None
    mine.asked.clear()
    push(bundle, "hf://me/experts")
    uploaded = {entry.removeprefix("PUT /lfs/") for entry in mine.asked if entry.startswith("PUT /lfs/")}
    assert uploaded
    assert not uploaded & there
    assert validate("hf://me/experts") == []


def test_a_damaged_bundle_stays_here(mine: Hub, bundle: Path) -> None:
    """Not even a repository is created, unless the user does not want to know."""
    file = bundle / "knots" / "00001.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(CorruptError, match=r"00001.safetensors: .*nothing was uploaded") as caught:
        push(bundle, "hf://me/experts")
    assert caught.value.exit_code == 4
    assert mine.repositories == {}
    push(bundle, "hf://me/experts", verify=False)
    assert [problem.reason for problem in validate("hf://me/experts")] == ["hash_mismatch"]


def test_a_private_push_never_makes_a_public_repository_of_it(bundle: Path) -> None:
    """A repository that is public already is refused."""
    push(bundle, "hf://me/open")
    with pytest.raises(UsageError, match="this repository is public"):
        push(bundle, "hf://me/open", private=True)
    push(bundle, "hf://me/closed", private=True)
    assert not push(bundle, "hf://me/closed", private=True).changed


def test_what_cannot_be_pushed(mine: Hub, tmp_path: Path) -> None:
    """A bundle at an address, and none at all."""
    with pytest.raises(UsageError, match="pull it first"):
        push("hf://me/experts", "hf://me/other")
    with pytest.raises(MissingError):
        push(tmp_path / "none", "hf://me/other")
    assert mine.repositories == {}
