"""Bundles on a hub, read by its official client: one revision, verified, and each refusal in one line."""

from __future__ import annotations

import importlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.hub import READ_TOKEN, TOKEN, Hub, content
from trajfmt import CorruptError, MissingDependencyError, MissingError, ParamLayout, RemoteError
from trajfmt.bundle.validation import validate
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.storage.address import Address, located
from trajfmt.storage.hub import pinned

BIG = ParamLayout.of([("w", (300, 100))])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache of its own."""
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(write_bundle: Callable[..., Path], walk: Callable[..., Any]) -> Path:
    """Return a bundle of two trajectories with several pieces each."""
    return write_bundle(BIG, walk(BIG), walk(BIG, seed=1), knots=[3])


@pytest.mark.parametrize("kind", ["models", "datasets"])
def test_an_address_on_the_hub_gives_the_same_bits(hub: Hub, bundle: Path, kind: str, tmp_path: Path) -> None:
    """Whole and in parts, from a folder of a repository, whose listing comes in pages."""
    hub.page = 2
    hub.add(f"{kind}/me/experts", bundle, "deep/two.mct")
    address = f"hf://{kind}/me/experts/deep/two.mct"
    with trajfmt.open(bundle) as plain, trajfmt.open(address) as found:
        assert np.array_equal(found[1].knot(1), plain[1].knot(1))
        assert sum(hub.sent.values()) < 1.2 * plain.layout.nbytes + found.manifest_bytes + 4096
        assert np.array_equal(found[0].at(1.5), plain[0].at(1.5))
        assert found.place.name == "two.mct"
    assert validate(address) == []
    assert convert(address, tmp_path / "again.mct", ConvertOptions(dataset="digits")) == 2


def test_a_branch_that_moves_while_a_bundle_is_read(
    hub: Hub, bundle: Path, write_bundle: Any, walk: Any
) -> None:
    """Everything comes from the commit at which the bundle was opened, also in another process."""
    repository = hub.add("models/me/experts", bundle)
    sha = repository.branches["main"]
    with trajfmt.open(bundle) as plain, trajfmt.open("hf://me/experts") as found:
        assert str(found.place) == f"hf://me/experts@{sha}"
        other = write_bundle(BIG, walk(BIG, seed=7), walk(BIG, seed=8), name="other.mct", knots=[3])
        repository.commit(content(other))
        sent = pickle.loads(pickle.dumps(found))
        for bundle_now in (found, sent):
            assert np.array_equal(bundle_now[0].at(2), plain[0].at(2))
    with trajfmt.open(other) as plain, trajfmt.open("hf://me/experts") as found:
        assert np.array_equal(found[0].at(2), plain[0].at(2))


def test_an_address_inside_a_chain_is_pinned_too(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    """A zip file in a repository is that of one commit."""
    packed = Path(shutil.make_archive(str(tmp_path / "all"), "zip", bundle))
    (tmp_path / "repo").mkdir()
    shutil.move(packed, tmp_path / "repo" / "all.zip")
    sha = hub.add("models/me/experts", tmp_path / "repo").branches["main"]
    place = pinned(located("zip://::hf://me/experts/all.zip"))
    assert str(place) == f"zip://::hf://me/experts@{sha}/all.zip"
    with trajfmt.open(bundle) as plain, trajfmt.open(str(place)) as found:
        assert np.array_equal(found[1].at(2), plain[1].at(2))


@pytest.mark.parametrize("part", ["pieces", "whole"])
def test_a_damaged_range_is_found(hub: Hub, bundle: Path, part: str) -> None:
    """One flipped bit in what the content network sends: no weights come of it."""
    hub.add("models/me/experts", bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    name = manifest["trajectories"][1]["file"]
    oid = next(entry["sha256"] for entry in manifest["files"] if entry["path"] == name)
    data = bytearray((bundle / name).read_bytes())
    data[-5] ^= 1
    hub.objects[oid] = bytes(data)
    with trajfmt.open("hf://me/experts") as found:
        assert found[1].knot(0) is not None
        with pytest.raises(CorruptError) as caught:
            found[1].knot(2) if part == "pieces" else found.verify()
    assert caught.value.reason == "hash_mismatch"
    assert name in str(caught.value)


def test_a_transfer_that_has_to_go_on(hub: Hub, bundle: Path) -> None:
    """What an interrupted download has left is kept, and only the rest is fetched."""
    hub.add("models/me/experts", bundle)
    with trajfmt.open("hf://me/experts") as found:
        found.files.keep_manifest()
        folder = found.files.root
    name = "knots/00000.safetensors"
    data = (bundle / name).read_bytes()
    (folder / "knots").mkdir()
    (folder / "knots" / ".00000.safetensors.partial").write_bytes(data[:100_000])
    hub.sent.clear()
    with trajfmt.open("hf://me/experts") as found:
        assert found.files.path(name).read_bytes() == data
    assert 0 < sum(count for key, count in hub.sent.items() if "manifest" not in key) <= len(data) - 100_000


@pytest.mark.parametrize(
    ("address", "settings", "token", "error", "words"),
    [
        ("hf://me/none", {}, None, MissingError, "no such repository, or a private one"),
        ("hf://me/experts@nope", {}, None, MissingError, "no such revision"),
        ("hf://me/experts/nope", {}, None, MissingError, "nothing is there"),
        ("hf://me/experts", {"private": True}, None, MissingError, "hf auth login"),
        ("hf://me/experts", {"gated": True}, READ_TOKEN, RemoteError, "ask for it on its page on http"),
        ("hf://me/experts", {}, "hf_wrong", RemoteError, "does not accept the token"),
        ("hf://me/experts", {"private": True, "gated": True}, TOKEN, None, ""),
    ],
)
def test_each_refusal_is_one_line(
    hub: Hub,
    bundle: Path,
    address: str,
    settings: dict[str, bool],
    token: str | None,
    error: type[Exception] | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names the address and what to do; the token is never shown."""
    hub.add("models/me/experts", bundle, **settings)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    if error is None:  # the token opens it, and is not sent to the content network
        assert validate(address) == []
        assert hub.leaked == 0
        return
    with pytest.raises(error, match=words) as caught:
        trajfmt.open(address)
    assert address in str(caught.value).replace(
        f"@{hub.repositories['models/me/experts'].branches['main']}", ""
    )
    assert "\n" not in str(caught.value)
    assert "hf_" not in str(caught.value)


def test_a_hub_that_cannot_be_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is one line at once; nor does the client ask where the network is forbidden."""
    constants = importlib.import_module("huggingface_hub.constants")
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        importlib.import_module("huggingface_hub").close_session()
        with pytest.raises(RemoteError, match="HF_HUB_OFFLINE forbids the network"):
            trajfmt.open("hf://me/experts")
    importlib.import_module("huggingface_hub").close_session()
    hub.server_close()
    with pytest.raises(RemoteError, match="hf://me/experts: no connection: "):
        trajfmt.open("hf://me/experts")


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says how to install the client."""
    load = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trajfmt\[hub\]'"):
        trajfmt.open("hf://me/experts")


def test_places_that_have_no_revisions(tmp_path: Path) -> None:
    """Paths, other addresses and buckets stay as they are, without a request."""
    for place in (tmp_path, Address("http://host/two.mct"), Address("hf://buckets/me/some/two.mct")):
        assert pinned(place) is place


@pytest.mark.parametrize("folder", ["cache", "local"])
def test_what_the_client_downloads_is_a_bundle(hub: Hub, bundle: Path, tmp_path: Path, folder: str) -> None:
    """In its cache the files are links, in a folder of the user's choice they are files beside its own."""
    client = pytest.importorskip("huggingface_hub")
    (bundle / "README.md").write_text("a card")
    hub.add("models/me/experts", bundle)
    where = {"cache_dir": tmp_path / "hub"} if folder == "cache" else {"local_dir": tmp_path / "here"}
    path = Path(client.snapshot_download("me/experts", **where))
    assert (path / "manifest.json").is_symlink() == (folder == "cache")
    assert validate(path) == []
    with trajfmt.open(bundle) as plain, trajfmt.open(path, verify=True) as found:
        assert np.array_equal(found[0].at(2.5), plain[0].at(2.5))


def test_the_knots_show_in_the_viewer(hub: Hub, bundle: Path) -> None:
    """The client reads names, dtypes and shapes from the header of a knot file, with one range."""
    hub.add("models/me/experts", bundle)
    client = pytest.importorskip("huggingface_hub").HfApi()
    found = client.parse_safetensors_file_metadata("me/experts", "knots/00001.safetensors")
    assert {name: (info.dtype, info.shape) for name, info in found.tensors.items()} == {
        f"{t:05d}/w": ("F32", [300, 100]) for t in (0, 3, 5)
    }
