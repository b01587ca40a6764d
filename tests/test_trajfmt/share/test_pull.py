"""Bundles on their way to this machine: verified, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.hub import Hub, content
from tests.helpers.serving import Server, served
from trajfmt import CorruptError, ExistsError, NotABundleError, RemoteError, UsageError
from trajfmt.errors import WriteError
from trajfmt.share.pull import pull


@pytest.fixture
def server(bundle: Path) -> Iterator[Server]:
    """Serve the folder of the bundle."""
    pytest.importorskip("aiohttp")
    with served(bundle.parent) as server:
        yield server


def test_a_pull_is_a_copy(server: Server, bundle: Path, tmp_path: Path) -> None:
    """Byte for byte, and without the files that are not the bundle's."""
    before = content(bundle)
    (bundle / "README.md").write_text("mine")
    seen: list[int] = []
    done = pull(f"{server.url}/two.mct", tmp_path / "copy", on_start=seen.append, on_file=seen.append)
    assert content(tmp_path / "copy") == before
    assert seen[0] == sum(seen[1:])
    assert done == (len(before), sum(map(len, before.values())))
    assert not list(tmp_path.glob(".*"))


def test_an_interrupted_pull_goes_on(
    server: Server, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has arrived is not fetched again, and nothing was at the destination meanwhile."""
    monkeypatch.setattr("trajfmt.storage.retries.PAUSES", ())
    server.cut["two.mct/knots/00001.safetensors"] = 100
    with pytest.raises(RemoteError):
        pull(f"{server.url}/two.mct", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    server.cut.clear()
    server.sent.clear()
    arrived = content(tmp_path / ".copy.partial" / "bundle")
    assert arrived
    pull(f"{server.url}/two.mct", tmp_path / "copy")
    assert content(tmp_path / "copy") == content(bundle)
    for name, data in arrived.items():
        assert server.sent[f"two.mct/{name}"] <= len((bundle / name).read_bytes()) - len(data)
    assert not list(tmp_path.glob(".*"))


def test_a_bundle_that_changed_is_not_mixed(
    mine: Hub, bundle: Path, make: Callable[..., Path], tmp_path: Path
) -> None:
    """What an interrupted pull has left of another bundle is dropped."""
    repository = mine.add("models/me/experts", bundle)

    def interrupt(_bytes: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("hf://me/experts", tmp_path / "copy", on_file=interrupt)
    other = make("other.mct", seed=9)
    repository.commit(content(other))
    pull("hf://me/experts", tmp_path / "copy")
    assert content(tmp_path / "copy") == content(other)


def test_damage_leaves_nothing(server: Server, bundle: Path, tmp_path: Path) -> None:
    """Neither the bundle nor a folder of its parts."""
    name = "two.mct/knots/00001.safetensors"
    server.body[name] = bytes(len((bundle.parent / name).read_bytes()))
    with pytest.raises(CorruptError, match=r"00001\.safetensors: sha256 must be"):
        pull(f"{server.url}/two.mct", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_disk_that_is_too_small(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before anything is fetched."""
    monkeypatch.setattr("trajfmt.storage.filesystem.free_bytes", lambda _folder: 1000)
    with pytest.raises(WriteError, match=r"copy: cannot be written: No space left on device for \d+ bytes"):
        pull(f"{server.url}/two.mct", tmp_path / "copy")
    assert server.asked == ["two.mct/manifest.json"]


def test_what_cannot_be_pulled(server: Server, bundle: Path, tmp_path: Path) -> None:
    """A path, an address without a bundle, and anything to a place that is taken or an address."""
    with pytest.raises(UsageError, match="cp -rL"):
        pull(bundle, tmp_path / "copy")
    with pytest.raises(NotABundleError):
        pull(server.url, tmp_path / "copy")
    with pytest.raises(ExistsError, match="already exists"):
        pull(f"{server.url}/two.mct", bundle)
    with pytest.raises(UsageError, match="no such folder; create it first"):
        pull("http://127.0.0.1:9/two.mct", tmp_path / "none" / "copy")
    with pytest.raises(UsageError, match="must be a path"):
        pull(f"{server.url}/two.mct", "s3://bucket/two.mct")
    assert not list(tmp_path.glob(".*"))
