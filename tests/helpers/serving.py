"""A web server on this machine that counts what it sends, and can misbehave."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_PIECE = 2**16
_LINGER = 0.3
"""Seconds before a connection ends early. The client forgets what it has not taken until then."""


class Server(ThreadingHTTPServer):
    """Serves the files below `root`, ranges of them too."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.sent: Counter[str] = Counter()
        """Bytes of bodies, by file."""

        self.asked: list[str] = []
        """Every GET, with its query."""

        self.cut: dict[str, int] = {}
        """Files that end the connection after so many bytes."""

        self.stalled: dict[str, int] = {}
        """Files that send nothing more after so many bytes, until the server ends."""

        self.status: dict[str, int] = {}
        """Files that are answered with an error; the text of one that is stalled, too, never comes."""

        self.body: dict[str, bytes] = {}
        """Files that are not what lies on disk."""

        self.tags: dict[str, str] = {}
        """The ETag of files, which `If-Range` is compared with."""

        self.breaking = 0
        """Answers that are still to end in their middle, whatever they are about."""

        self.ranges = True
        """Whether a part of a file can be asked for."""

        self.ended = threading.Event()
        self.stalling = threading.Event()

    @property
    def url(self) -> str:
        """Return the address of `root`."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the end of a small answer waits for 40 ms

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self.server.asked.append(self.path.lstrip("/"))
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        server, name = self.server, self.path.lstrip("/").partition("?")[0]
        path = server.root / name
        if name in server.status and name in server.stalled:
            self.send_response(server.status[name])
            self.send_header("Content-Length", "100")
            self.end_headers()
            server.ended.wait(60)
            self.close_connection = True
            return
        if name in server.status or not (name in server.body or path.exists()):
            self.send_error(server.status.get(name, 404))
            return
        size = len(server.body[name]) if name in server.body else path.stat().st_size if path.is_file() else 0
        first, last = 0, size - 1
        tag = server.tags.get(name, "")
        span = self.headers.get("Range") if server.ranges else None
        if span and self.headers.get("If-Range", tag) != tag:
            span = None
        if span:
            low, _, high = span.removeprefix("bytes=").partition("-")
            first, last = int(low), min(int(high or last), last)
            if first > last:
                self.send_error(416)
                return
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        if tag:
            self.send_header("ETag", tag)
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if body and size:
            self._send(name, path, first, last + 1)

    def _send(self, name: str, path: Path, first: int, end: int) -> None:
        server = self.server
        limit = min(server.cut.get(name, end), server.stalled.get(name, end))
        if server.breaking and not name.endswith("manifest.json"):
            server.breaking -= 1
            limit = min(limit, (first + end) // 2)
        with path.open("rb") if name not in server.body else io.BytesIO(server.body[name]) as file:
            file.seek(first)
            while first < min(end, limit):
                piece = file.read(min(_PIECE, min(end, limit) - first))
                server.sent[name] += len(piece)  # first, or a client could look too early
                self.wfile.write(piece)
                first += len(piece)
        if first < end:
            self.wfile.flush()
            if name in server.stalled:
                server.stalling.set()
            server.ended.wait(60 if name in server.stalled else _LINGER)
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Keep stderr clean."""


@contextmanager
def served(root: Path) -> Iterator[Server]:
    """Serve a folder on a free port."""
    with Server(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join(10)
