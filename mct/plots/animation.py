"""The images of a run over its outer steps, as an animation that browsers and papers' web pages show."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageFont

from mct.errors import ConfigError, CorruptError
from mct.results import snapshots

Format = Literal["gif", "png"]
"""GIF, with at most 256 colours in a frame; or PNG, as an animated one (APNG) with all colours."""

FORMATS: Final = ("gif", "png")
"""The suffixes of the files."""

_BAR: Final = 24
"""Height of the bar with the number of outer steps, in pixels."""

_REST: Final = 3
"""How many times as long the last frame is shown."""


def animation(run: Path, kind: Format, *, seconds: float = 0.2) -> bytes:
    """Return the animation of a run, encoded. Equal snapshots give equal bytes.

    Every frame has the number of outer steps above the images. The animation is repeated without end.

    Args:
        run: Folder of a run with `snapshot_every`, which may still be in progress.
        kind: The format.
        seconds: Time for which a frame is shown; the last one is shown three times as long.

    Raises:
        ConfigError: `seconds` is out of range.
        MissingError: There are less than two snapshots.
        CorruptError: A snapshot cannot be read, or has another size than the first.
    """
    if not 0.02 <= seconds <= 60:
        raise ConfigError(f"`seconds` must lie between 0.02 and 60, got {seconds!r}")
    frames = [_frame(step, path) for step, path in snapshots.required(run).items()]
    for number, frame in enumerate(frames):
        if frame.size != frames[0].size:
            raise CorruptError(
                f"{run}: picture {number} is {_shown(frame)}, the first is {_shown(frames[0])}; the folder "
                f"{snapshots.FOLDER} holds pictures of several runs"
            )
    times = [round(1000 * seconds)] * (len(frames) - 1) + [round(1000 * seconds) * _REST]
    options: Mapping[str, object] = {"disposal": 0} if kind == "gif" else {}
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format=kind.upper(),
        save_all=True,
        append_images=frames[1:],
        duration=times,
        loop=0,
        **options,
    )
    return buffer.getvalue()


def _frame(step: int, path: Path) -> Image.Image:
    """Return a snapshot with the number of outer steps above it."""
    try:
        with Image.open(path, formats=("PNG",)) as found:
            picture = found.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        raise CorruptError(f"{path}: cannot be read as a picture: {exc}; remove it to leave it out") from exc
    frame = Image.new("RGB", (picture.width, picture.height + _BAR), "white")
    frame.paste(picture, (0, _BAR))
    ImageDraw.Draw(frame).text((4, 5), f"step {step:,}", fill="black", font=ImageFont.load_default(12))
    return frame


def _shown(frame: Image.Image) -> str:
    return f"{frame.width} x {frame.height - _BAR} pixels"
