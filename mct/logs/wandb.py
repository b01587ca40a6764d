"""A run of Weights & Biases, whose files are in the folder `wandb` of the run.

The environment variables of the tool apply, such as `WANDB_PROJECT`, `WANDB_ENTITY` and `WANDB_MODE=offline`.
"""

import io
import os
import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from PIL import Image

from mct.errors import ConfigError
from mct.logs.logger import Opening

PROJECT = "mct"
IDENTITY = "run-id"

_SECONDS = 30
"""Seconds to wait for the server at the beginning."""


class WandbLogger:
    """Logs to a run whose id is kept in the folder, so that a resumed run continues it.

    The tool itself drops a step that it has already.
    """

    def __init__(self, opening: Opening) -> None:
        self._wandb: Any = import_module("wandb")
        mode = os.environ.get("WANDB_MODE", "online")
        if mode in ("online", "shared") and not self._wandb.login(prompt=False):
            raise ConfigError("no API key; run wandb login first, or set WANDB_MODE=offline")
        folder = opening.folder / "wandb"
        folder.mkdir(exist_ok=True)
        identity = folder / IDENTITY
        if not identity.is_file():
            identity.write_text(uuid.uuid4().hex)
        self._run = self._wandb.init(
            dir=str(opening.folder),
            id=identity.read_text().strip(),
            resume="allow",
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=os.environ.get("WANDB_NAME") or opening.folder.resolve().name,
            config=dict(opening.settings),
            settings=self._wandb.Settings(console="off", silent=True, init_timeout=_SECONDS),
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture."""
        with Image.open(io.BytesIO(png)) as image:
            self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Send or write what is left."""
        self._run.finish()
