"""Pages as a browser and as a program see them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

_VOID = {"meta", "br", "img", "line", "path", "rect", "circle", "polyline"}


class _Reader(HTMLParser):
    """Collects elements and text, and requires that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


class Page:
    """The elements and the text of a page."""

    def __init__(self, content: bytes) -> None:
        reader = _Reader()
        reader.feed(content.decode())
        assert reader.open == []
        self.elements = reader.elements
        self.text = " ".join(reader.text)

    def all(self, name: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element with a name."""
        return [attributes for tag, attributes in self.elements if tag == name]


def assert_sound(content: bytes) -> Page:
    """Require a page that loads nothing, has no script, is accessible, and is small; return it."""
    assert len(content) <= 2_000_000
    page = Page(content)
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        href = attributes.get("href")
        assert href is None or href.removeprefix("#") in ids
        labelled = attributes.get("aria-labelledby")
        assert labelled is None or labelled in ids
    assert all(image["alt"] for image in page.all("img"))
    shown = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true"]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in shown)
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert len(page.all("h1")) == 1
    drawn = [attributes.get("points") or attributes.get("d") or "" for _, attributes in page.elements]
    assert not [points for points in drawn if "n" in points]  # as in nan, and in inf
    return page


def browser() -> str | None:
    """Return the program of a browser, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def browse(folder: Path, page: Path, *options: str) -> tuple[str, str]:
    """Open a page in a browser without a window, and return its standard output and its console.

    Args:
        folder: an empty folder for the browser's own files.
        page: the file.
        options: what the browser does with it, such as `--dump-dom`.
    """
    program = browser()
    assert program is not None
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    done = subprocess.run(
        [*command, *quiet, f"--user-data-dir={folder}", "--enable-logging=stderr", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def corner(picture: Path) -> tuple[int, ...]:
    """Return the colour of the first pixel of a PNG."""
    from PIL import Image

    with Image.open(io.BytesIO(picture.read_bytes())) as image:
        pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)
