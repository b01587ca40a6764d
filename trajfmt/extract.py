"""One timestep of a bundle as an ordinary checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from trajfmt.bundle import Bundle
from trajfmt.encodings.knots import write_checkpoint
from trajfmt.errors import ExistsError, UsageError, display
from trajfmt.files import fsync_directory

__all__ = ["extract"]


def extract(bundle: Bundle, trajectory: int, t: float, output: str | os.PathLike[str]) -> None:
    """Write the weights of a trajectory at t as a safetensors file, parameters by their own names.

    Raises:
        ExistsError: `output` exists.
        TimestepError: t lies outside the trajectory, or between the timesteps of a full one.
        UsageError: `output` does not end in `.safetensors`.
    """
    path = Path(output)
    if path.suffix != ".safetensors":
        raise UsageError(f"{display(path)}: the output must end in .safetensors")
    if os.path.lexists(path):
        raise ExistsError(f"{display(path)} already exists; choose another name or remove it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{display(path.absolute().parent)}: no such folder; create it first")
    theta = bundle[trajectory].at(t)
    about = {"bundle_sha256": bundle.sha256, "t": float(t), "trajectory": trajectory}
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            write_checkpoint(file, bundle.layout, theta, about)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync_directory(path.absolute().parent)
