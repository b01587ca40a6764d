"""`traj push`, `pull`, `card` and `croissant`, as their users meet them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.hub import TOKEN, Hub, client_of, content, hub_server
from tests.helpers.serving import served

from .conftest import Traj

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"
)  # the client's call of httpx


@pytest.fixture
def mine(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    """Return a hub that the user is logged in to."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    return hub


def test_there_and_back(mine: Hub, traj: Traj, bundle: Callable[..., Path], tmp_path: Path) -> None:
    """Each command says in one line what it did, and every reading command takes the address."""
    path = bundle()
    done = traj("push", path, "hf://me/experts", "--private", "--license", "mit", "--message", "first")
    commit = mine.repositories["models/me/experts"].branches["main"]
    assert done.out.startswith("hf://me/experts: 5 files, ")
    assert done.out.endswith(f", at commit {commit[:12]} of {mine.url}/me/experts\n")
    assert [line.partition(";")[0] for line in done.err.splitlines()] == [
        "validating the bundle",
        "uploading",
    ]
    assert mine.repositories["models/me/experts"].messages[-1] == "first"
    again = traj("push", path, "hf://me/experts")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("hf://me/experts: there already; ")
    assert traj("validate", "hf://me/experts").out == "hf://me/experts: valid\n"
    assert f"hf://me/experts@{commit}" in traj("inspect", "hf://me/experts").out
    done = traj("extract", "hf://me/experts", "--t", "2", "-o", tmp_path / "theta.safetensors")
    assert done.code == 0
    done = traj("pull", "hf://me/experts", tmp_path / "back.mct")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{tmp_path}/back.mct: 5 files, ")
    assert content(tmp_path / "back.mct") == content(path)
    assert "already exists" in traj("pull", "hf://me/experts", tmp_path / "back.mct").error


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["push", "{bundle}", "hf://me"], 2, "expected hf://OWNER/NAME"),
        (["push", "{bundle}", "s3://bucket/x"], 2, "pushed to the Hugging Face hub"),
        (["push", "nowhere.mct", "hf://me/x"], 2, "no such file or folder"),
        (["push", "hf://me/x", "hf://me/y"], 2, "must be a path of this machine"),
        (["pull", "hf://me/none", "x.mct"], 2, "no such repository, or a private one"),
        (
            ["pull", "{bundle}", "x.mct"],
            2,
            "expected an address, such as hf://OWNER/NAME or https://host/two.mct, found a "
            "path on this machine; copy a bundle with cp -rL BUNDLE COPY",
        ),
        (
            ["pull", "me/experts", "x.mct"],
            2,
            "me/experts: expected an address, such as hf://OWNER/NAME or "
            "https://host/two.mct, found a path without ://",
        ),
        (["pull", "hf://me/none", "{bundle}"], 2, "already exists"),
        (["card", "hf://me/none"], 2, "no such repository"),
    ],
)
def test_what_goes_wrong_is_one_line(
    mine: Hub, traj: Traj, bundle: Callable[..., Path], arguments: list[str], code: int, words: str
) -> None:
    """With its exit code, and nothing on the hub."""
    path = bundle()
    done = traj(*[argument.format(bundle=path) for argument in arguments])
    assert done.code == code
    assert words in done.error
    assert mine.repositories == {}


def test_an_upload_ends_at_once(
    bundle: Callable[..., Path], process: Callable[..., Any], traj: Traj, tmp_path: Path
) -> None:
    """Ctrl-C while the hub is silent: one line, exit code 130, no commit; the next push completes it."""
    path = bundle()
    pytest.importorskip("huggingface_hub")
    with hub_server() as hub, client_of(hub, tmp_path / "hf", TOKEN) as environment:
        hub.stalled = True
        started = process("push", path, "hf://me/x", env={**os.environ, **environment})
        assert hub.stalling.wait(60)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=30)
        assert started.returncode == 130
        assert err.decode().splitlines()[-1] == "error: interrupted"
        assert hub.repositories["models/me/x"].messages == ["initial commit"]
        hub.stalled = False
        assert traj("push", path, "hf://me/x").code == 0
        assert hub.repositories["models/me/x"].messages == ["initial commit", "Add out.mct"]


def test_a_download_that_is_killed_goes_on(
    bundle: Callable[..., Path], process: Callable[..., subprocess.Popen[bytes]], traj: Traj, tmp_path: Path
) -> None:
    """`kill -9` in the middle of a file: nothing is at the destination, and the rest is fetched later."""
    pytest.importorskip("aiohttp")
    path = bundle()
    name = "out.mct/knots/00001.safetensors"
    size = (tmp_path / name).stat().st_size
    with served(tmp_path) as server:
        server.stalled[name] = 20_000
        started = process("pull", f"{server.url}/out.mct", tmp_path / "copy.mct")
        assert server.stalling.wait(60)
        arriving = tmp_path / ".copy.mct.partial" / "bundle" / "knots" / "00001.safetensors"
        while not arriving.exists() or arriving.stat().st_size < 20_000:
            assert started.poll() is None
        started.kill()
        started.communicate()
        assert not (tmp_path / "copy.mct").exists()
        server.stalled.clear()
        server.sent.clear()
        assert traj("pull", f"{server.url}/out.mct", tmp_path / "copy.mct").code == 0
        assert server.sent[name] == size - 20_000
    assert content(tmp_path / "copy.mct") == content(path)


def test_descriptions_without_a_hub(traj: Traj, bundle: Callable[..., Path], tmp_path: Path) -> None:
    """On standard output or in a file, which is replaced with --force only."""
    path = bundle()
    shown = traj("card", path, "--license", "mit", "--address", "https://me:secret@host/out.mct?key=1")
    assert shown.out.startswith('---\nlicense: "mit"\n')
    assert "secret" not in shown.out
    assert "key" not in shown.out
    output = tmp_path / "README.md"
    assert traj("card", path, "-o", output).out == f"{output}\n"
    assert "exists; choose another name with -o, or pass --force" in traj("card", path, "-o", output).error
    assert traj("card", path, "-o", output, "--force", "--license", "mit").code == 0
    assert output.read_text().startswith('---\nlicense: "mit"\n')
    assert "no such folder" in traj("croissant", path, "-o", tmp_path / "none" / "x.json").error
    found = json.loads(traj("croissant", path, "--url", "https://host/page").out)
    assert (found["name"], found["url"]) == ("out.mct", "https://host/page")
    output = path / "croissant.json"
    assert traj("croissant", path, "-o", output).code == 0
    assert json.loads(output.read_bytes())["distribution"][0]["contentUrl"] == "manifest.json"
    assert traj("validate", path).code == 0
