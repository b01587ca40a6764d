"""Event files for TensorBoard, in the folder `tensorboard` of the run."""

import io
from collections.abc import Mapping
from importlib import import_module

import numpy as np
from PIL import Image

from mct.logs.logger import Opening

FOLDER = "tensorboard"


class TensorBoardLogger:
    """Writes event files. A resumed run begins another one; TensorBoard cuts the others where it begins."""

    def __init__(self, opening: Opening) -> None:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(opening.folder / FOLDER, purge_step=opening.first, flush_secs=30)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture."""
        with Image.open(io.BytesIO(png)) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Write all events."""
        self._writer.close()
