"""A run of Trackio, which keeps its data in a folder of its own (`TRACKIO_DIR`).

The project is that of the environment variable `TRACKIO_PROJECT`, or `mct`.
"""

import io
import os
import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from PIL import Image

from mct.logs.logger import Opening

PROJECT = "mct"
FILE = "trackio-run"


class TrackioLogger:
    """Logs to a run whose name is kept in the folder with the last step, as Trackio takes a step twice."""

    def __init__(self, opening: Opening) -> None:
        self._trackio: Any = import_module("trackio")
        self._file = opening.folder / FILE
        name, _, last = (self._file.read_text() if self._file.is_file() else "").partition("\n")
        self._name = name or f"{opening.folder.resolve().name}-{uuid.uuid4().hex[:8]}"
        self._last = int(last) if last.strip().isdecimal() else -1
        self._trackio.init(
            project=os.environ.get("TRACKIO_PROJECT") or PROJECT,
            name=self._name,
            config=dict(opening.settings),
            resume="allow",
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values, unless a run that was killed has logged this step."""
        if step > self._last:
            self._trackio.log(dict(values), step=step)
            self._last = step
            self._file.write_text(f"{self._name}\n{step}")

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture."""
        with Image.open(io.BytesIO(png)) as image:
            self._trackio.log({name: self._trackio.Image(image)}, step=step)

    def close(self) -> None:
        """Send what is left."""
        self._trackio.finish()
