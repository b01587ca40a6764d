"""A web server in a process of its own that serves bundles as well as it is told to, or badly.

The first part of the path of a request says how: `http://127.0.0.1:PORT/drop.7/…`. What follows the dot makes
the misbehaviour of one reader its own: the requests for each file are counted by this whole word, and the
count decides what happens, so that the same requests get the same answers.

    well        as a good server does
    slow        in small pieces, with pauses
    busy        503 for the first request for each file
    broken      500 for every second request
    drop        some answers end in their middle
    short       some answers lack their end and say so
    flip        some answers have one bit flipped
    whole       no ranges, only whole files
    stale       some answers are those of an older copy, in the folder `.old` beside the bundle
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.trust.processes import die_with_parent

__all__ = ["GOOD", "MOODS", "OLD", "Web"]

MOODS = ("well", "slow", "busy", "broken", "drop", "short", "flip", "whole", "stale")
GOOD = ("well", "slow", "busy", "whole")
"""With these, a reader must succeed."""

OLD = ".old"


class Web:
    """The server of a folder, in a forked process."""

    def __init__(self, root: Path) -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = listening.getsockname()[1]
        self._process = os.fork()
        if self._process == 0:
            try:
                die_with_parent()
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _Server(root, listening).serve_forever()
            finally:
                os._exit(0)
        listening.close()

    def address(self, mood: str, name: str) -> str:
        """Return the address of a bundle."""
        return f"http://127.0.0.1:{self.port}/{mood}/{name}"

    def close(self) -> None:
        """End the server."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path, listening: socket.socket) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.root = root
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        word, _, name = self.path.lstrip("/").partition("/")
        mood = word.partition(".")[0]
        with self.server.lock:
            count = self.server.asked[self.path]
            self.server.asked[self.path] += 1
        chance = zlib.crc32(f"{self.path} {count}".encode())
        bad = chance % 3 == 0
        if (mood == "busy" and count == 0) or (mood == "broken" and chance % 2):
            self.send_error(503 if mood == "busy" else 500)
            return
        path = self.server.root / name
        if mood == "stale" and bad:
            folder, _, rest = name.partition("/")
            older = self.server.root / folder / OLD / rest
            path = older if older.is_file() else path
        try:
            data = path.read_bytes()
        except OSError:
            self.send_error(404)
            return
        status, data, place = self._part(data, whole=mood == "whole")
        if status == 416:
            self.send_error(416)
            return
        if mood == "short" and bad:
            data = data[: len(data) // 2]
        if mood == "flip" and bad and data:
            at = chance % len(data)
            data = data[:at] + bytes([data[at] ^ 1 << chance % 8]) + data[at + 1 :]
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if place:
            self.send_header("Content-Range", place)
        self.end_headers()
        if not body:
            return
        if mood == "drop" and bad:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        pieces = 3 if mood == "slow" else 1
        for number in range(pieces):
            self.wfile.write(data[len(data) * number // pieces : len(data) * (number + 1) // pieces])
            if pieces > 1:
                self.wfile.flush()
                time.sleep(0.001)

    def _part(self, data: bytes, *, whole: bool) -> tuple[int, bytes, str]:
        """Return the status, the bytes that are asked for, and where they are."""
        asked = self.headers.get("Range")
        if whole or not asked:
            return 200, data, ""
        low, _, high = asked.removeprefix("bytes=").partition("-")
        first, last = int(low), min(int(high or len(data)), len(data) - 1)
        if first > last:
            return 416, b"", ""
        return 206, data[first : last + 1], f"bytes {first}-{last}/{len(data)}"

    def log_message(self, *_: Any) -> None:
        """Keep stderr clean."""
