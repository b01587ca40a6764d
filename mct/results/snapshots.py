"""Pictures of a run's images over its outer steps, in the folder `snapshots` of the run.

Each is a PNG with the first images of every class, of those that the run learns, named after the number of
outer steps done. They are for looking at; the images themselves are in the result.
"""

import re
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from mct.errors import MissingError
from mct.results import grids
from mct.results.synthetic import SyntheticDataset
from trajfmt.errors import counted
from trajfmt.storage import partial_of, write_file

FOLDER: Final = "snapshots"
"""Name of the folder in that of a run."""

MOST: Final = 10
"""Images of each class on a picture, at most."""

_NAME: Final = re.compile(r"step-(\d{8,})\.png")


def path_of(run: Path, step: int) -> Path:
    """Return the path of a snapshot.

    Example:
        >>> path_of(Path("run"), 250).as_posix()
        'run/snapshots/step-00000250.png'
    """
    return run / FOLDER / f"step-{step:08}.png"


def changing(found: SyntheticDataset) -> Tensor:
    """Return the numbers `(n,)` int64, on the CPU, of the images that a run changes.

    Those of earlier stages stay as they are, and so do images that remain real ones.
    """
    rows, learned = torch.arange(found.fixed, len(found.labels)), found.learned_images
    return rows if learned is None else rows[learned[found.fixed :]]


def write(run: Path, step: int, pixels: Tensor, labels: Tensor) -> None:
    """Write the snapshot of an outer step, atomically.

    Args:
        run: Folder of the run.
        step: Number of outer steps done.
        pixels: `(N, C, H, W)` in [0, 1].
        labels: `(N,)` int64: the classes of the images.

    Raises:
        OSError: It cannot be written.
    """
    members = [(labels == label).nonzero()[:MOST, 0] for label in sorted(set(labels.tolist()))]
    each = max(map(len, members))
    image = grids.grid(pixels[torch.cat(members)], columns=each * max(1, MOST // each))
    path = path_of(run, step)
    path.parent.mkdir(exist_ok=True)
    write_file(path, grids.png(image), durable=False)


def listed(run: Path) -> dict[int, Path]:
    """Return the snapshots of a run by the number of outer steps, in this order; empty if there are none."""
    folder = run / FOLDER
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    steps = sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))
    return {step: path_of(run, step) for step in steps}


def until(run: Path, step: int) -> None:
    """Remove the snapshots of later outer steps, and what a killed process has left of one."""
    for number, path in listed(run).items():
        if number > step:
            path.unlink()
    folder = run / FOLDER
    for entry in folder.iterdir() if folder.is_dir() else ():
        whole = entry.name.removeprefix(".").removesuffix(".partial")
        if _NAME.fullmatch(whole) and entry == partial_of(folder / whole):
            entry.unlink()


def required(run: Path) -> dict[int, Path]:
    """Return the snapshots of a run, of which there must be several.

    Raises:
        MissingError: There are less than two.
    """
    found = listed(run)
    if len(found) < 2:
        there = f"holds {counted(len(found), 'snapshot')}" if run.is_dir() else "no such folder"
        raise MissingError(
            f"{run}: {there}, and an animation needs two; give the folder of a run of mct distill with "
            "--snapshot-every"
        )
    return found
