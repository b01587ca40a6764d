"""The reader in JavaScript, which was written from the text of the specification alone, passes the vectors.

It needs Node, and its page also needs Chromium; where one is missing, its tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zstandard

SPEC = Path(__file__).resolve().parent.parent / "spec"
READER = SPEC / "readers" / "javascript"
CLASSES = {"weights", "full"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def node_version() -> int:
    """Return the major version of Node, or 0."""
    if shutil.which("node") is None:
        return 0
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    return int(found[1]) if found else 0


pytestmark = pytest.mark.skipif(node_version() < 20, reason="needs Node 20 or newer")


def node(*arguments: str, stdin: bytes = b"") -> str:
    """Return what Node prints in the folder of the reader; it must succeed."""
    done = subprocess.run(
        ["node", *arguments], cwd=READER, input=stdin, capture_output=True, check=False, timeout=240
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said[-20_000:] + done.stderr.decode()
    return said


def test_vectors() -> None:
    """Every vector of the classes that it claims passes, from a folder, an address and picked files."""
    said = node("--test", "--test-reporter=tap", "tests/vectors.test.js")
    vectors = json.loads((SPEC / "v1" / "vectors" / "index.json").read_text())["vectors"]
    expected = sum(not CLASSES.isdisjoint(vector["classes"]) for vector in vectors)
    assert f"vectors passed: {expected} of {expected}, classes weights and full" in said


@pytest.mark.parametrize("name", ["archive", "items", "json", "sources", "tables", "zstd"])
def test_unit(name: str) -> None:
    """The tests of the reader's parts pass."""
    assert "# fail 0" in node("--test", "--test-reporter=tap", f"tests/{name}.test.js")


def test_readme() -> None:
    """The example of its README runs."""
    example = re.search(r"```js\n(.*?)```", (READER / "README.md").read_text(), re.DOTALL)
    assert example is not None
    said = node("--input-type=module", "--eval", example[1])
    assert said.startswith("convex 5 {")
    verdicts = dict(line.split(" ") for line in said.splitlines() if line.endswith(" sound"))
    assert {"knots/00000.safetensors", "tables/00000.h5"} <= verdicts.keys()


@pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)) and "CHROMIUM" not in os.environ, reason="needs Chromium"
)
def test_page() -> None:
    """The page shows bundles in a real browser."""
    said = node("--test", "--test-reporter=tap", "tests/page.test.js")
    assert "# fail 0" in said
    assert "# skipped 0" in said


DECODE = """
import { readFileSync } from "node:fs";
import { decodeFrame } from "./src/zstd/frame.js";
const input = readFileSync(0);
for (let at = 0; at < input.length; ) {
  const [stored, size] = [input.readUInt32LE(at), input.readUInt32LE(at + 4)];
  const raw = input.subarray(at + 8 + stored, at + 8 + stored + size);
  const decoded = decodeFrame(new Uint8Array(input.subarray(at + 8, at + 8 + stored)), size);
  if (Buffer.compare(Buffer.from(decoded), raw)) throw new Error(`the frame at byte ${at} is wrong`);
  at += 8 + stored + size;
}
"""


def test_zstd() -> None:
    """Its decoder gives the bytes that the reference implementation compressed, at any level and size."""
    random = np.random.default_rng(7)
    walk = np.cumsum(random.normal(size=20_000)).astype("<f4")
    contents = [
        *(
            random.integers(97, 100, size, dtype="u1").tobytes()
            for size in (1, 2, 31, 32, 255, 256, 257, 1000)
        ),
        walk.view("u1").reshape(-1, 4).T.tobytes(),
        np.minimum(random.geometric(0.05, 150_000), 255).astype("u1").tobytes(),
        (SPEC / "v1" / "spec.md").read_bytes() * 3,
        random.bytes(5000),
        bytes(300_000),
        b"ab" * 70_000,
    ]
    frames = bytearray()
    for level in (-5, 1, 3, 5, 9, 15, 19, 22):
        for window_log in (0, 12):
            parameters = zstandard.ZstdCompressionParameters.from_level(
                level, write_checksum=1, write_content_size=1, window_log=window_log
            )
            for content in contents:
                frame = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
                frames += struct.pack("<II", len(frame), len(content)) + frame + content
    node("--input-type=module", "--eval", DECODE, stdin=bytes(frames))
