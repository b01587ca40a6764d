"""What several test modules share: small layouts, seeded trajectories, bundles, and other processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.hub import Hub, client_of, hub_server
from tests.helpers.sealing import sealed
from trajfmt import ArrayTrajectory, ParamLayout

Array = NDArray[np.generic]

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Before torch is imported: to networks as small as the tests' a second thread gives less than it takes."""


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Have the processes of tests react to Ctrl-C, which background jobs of a shell ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep whitenings and compiled code out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAJFMT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def without_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide GPUs from every test, and from the processes that it starts, unless it is marked `cuda`."""
    if request.node.get_closest_marker("cuda") is not None:
        return
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if "torch" in sys.modules:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def layout() -> ParamLayout:
    """Return a network of nine elements: a matrix, a vector and a scalar."""
    return ParamLayout.of([("fc.weight", (2, 3)), ("fc.bias", (2,)), ("scale", ())])


@pytest.fixture
def walk() -> Callable[..., Array]:
    """Return a function that makes a seeded random walk `(timesteps, P)` for a layout."""

    def make(layout: ParamLayout, timesteps: int = 6, seed: int = 0) -> Array:
        steps = np.random.default_rng(seed).standard_normal((timesteps, layout.size))
        return steps.cumsum(axis=0).astype(layout.numpy_dtype)

    return make


@pytest.fixture
def write_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes arrays `(T+1, P)` as a bundle and returns its path."""

    def write(layout: ParamLayout, *thetas: Array, name: str | None = None, **options: Any) -> Path:
        options = {"encoding": "convex"} | options
        path = tmp_path / (name or ("out.mct" if options["encoding"] == "convex" else "out.mtt"))
        with trajfmt.create(path, layout, **options) as writer:
            for theta in thetas:
                writer.add(ArrayTrajectory(theta, layout))
        return path

    return write


@pytest.fixture
def edit_manifest() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """Return a function that changes a bundle's manifest and makes sizes and hashes true again.

    Digests of pieces are optional, and are left out.
    """

    def edit(path: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
        manifest = json.loads((path / "manifest.json").read_bytes())
        for entry in manifest["trajectories"]:
            entry.pop("pieces", None)
        change(manifest)
        for entry in manifest["files"]:
            if (path / entry["path"]).is_file():
                data = (path / entry["path"]).read_bytes()
                entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (path / "manifest.json").write_bytes(sealed(manifest))

    return edit


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Run a stand-in for the Hugging Face hub, which the official client talks to without a token."""
    pytest.importorskip("huggingface_hub")
    with hub_server() as server, client_of(server, tmp_path / "hf"):
        yield server


@pytest.fixture
def python() -> Callable[..., str]:
    """Return a function that runs code in a fresh interpreter and returns its stdout."""

    def run(code: str, *arguments: object, timeout: float = 60) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
        return done.stdout

    return run
