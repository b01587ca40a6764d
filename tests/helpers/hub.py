"""A stand-in for the Hugging Face hub on this machine, and its official client pointed at it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.hub_content import Repository, content
from tests.helpers.hub_server import READ_TOKEN, TOKEN, Hub

__all__ = ["READ_TOKEN", "TOKEN", "Hub", "Repository", "client_of", "content", "hub_server"]


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Run the stand-in on a free port."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join(10)


@contextmanager
def client_of(server: Hub, home: Path, token: str | None = None) -> Iterator[dict[str, str]]:
    """Point the official client of this process at the stand-in, and yield the same as environment variables.

    The client reads its environment when it is imported; what it made of that is replaced here. Its transfers
    of pieces (Xet) speak another protocol, and are switched off.
    """
    import huggingface_hub
    from huggingface_hub import constants

    environment = {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        if token is not None:
            patch.setenv("HF_TOKEN", token)
            environment["HF_TOKEN"] = token
        patch.setattr(constants, "ENDPOINT", server.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        patch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"), raising=False)
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        huggingface_hub.HfFileSystem.clear_instance_cache()
        bars = sys.modules["huggingface_hub.utils.tqdm"]  # `utils.tqdm` is the class of that name
        patch.setattr(bars, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        try:
            yield environment
        finally:
            if close := getattr(huggingface_hub, "close_session", None):
                close()
