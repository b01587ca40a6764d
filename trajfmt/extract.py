"""One timestep of a bundle as an ordinary checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from trajfmt.bundle import Bundle
from trajfmt.encodings.knots import checkpoint
from trajfmt.errors import ExistsError, UsageError, WriteError, display
from trajfmt.files import write_file

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
    try:
        write_file(path, *checkpoint(bundle.layout, theta, about))
    except OSError as exc:
        raise WriteError(f"{display(path)}: cannot be written: {exc.strerror or exc}") from exc
