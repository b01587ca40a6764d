"""Write one bundle of every kind, and `holds.json`: `python make.py FOLDER`, which must not exist.

The values are random walks with fixed seeds. See README.md for when this may be run.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from read import all_of
from safetensors.numpy import save_file

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

SHAPES = {"conv.weight": (4, 2, 3, 3), "conv.bias": (4,), "norm.weight": (4,), "head.weight": (3, 20)}
PROVENANCE = trajfmt.Provenance(dataset="CIFAR10", preprocessing=trajfmt.Preprocessing(kind="zca", eps=0.1))


def layout(dtype: str = "F32") -> trajfmt.ParamLayout:
    """Return the parameter layout of a small network."""
    return trajfmt.ParamLayout.of(SHAPES.items()).cast(dtype)


def walk(seed: int, timesteps: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Return a random walk `(timesteps, P)` whose steps become shorter."""
    random = np.random.default_rng(seed)
    steps = random.normal(size=(timesteps, layout().size)) * 0.01
    steps[1:] /= np.sqrt(np.arange(1, timesteps))[:, None]
    return (steps.cumsum(axis=0) + random.normal(size=layout().size) * 0.1).astype(dtype)


def write(path: Path, *thetas: NDArray[Any], dtype: str = "F32", **options: Any) -> None:
    """Write trajectories as a bundle."""
    with trajfmt.create(path, layout(dtype), provenance=PROVENANCE, **options) as writer:
        for theta in thetas:
            own = layout(dtype if theta.dtype == layout(dtype).numpy_dtype else "F32")
            writer.add(trajfmt.ArrayTrajectory(theta, own))


def append(path: Path, theta: NDArray[Any]) -> None:
    """Append a trajectory to a bundle."""
    with trajfmt.append(path) as writer:
        writer.add(trajfmt.ArrayTrajectory(theta, layout()))


def checkpoints(folder: Path, theta: NDArray[Any]) -> Path:
    """Save every timestep as the checkpoint of an even epoch, with running statistics."""
    folder.mkdir()
    random = np.random.default_rng(9)
    for t, row in enumerate(theta):
        state = {name: np.ascontiguousarray(value) for name, value in layout().split(row).items()}
        state["norm.running_mean"] = random.normal(size=4).astype(np.float32)
        state["norm.num_batches_tracked"] = np.array(10 * t, np.int64)
        save_file(state, folder / f"epoch_{2 * t}.safetensors")
    return folder


@dataclass
class Free:
    """A convexified trajectory whose betas were chosen freely."""

    rows: NDArray[Any]
    u: NDArray[np.float64]
    knots: tuple[int, ...] = (0, 4)
    timesteps: int = 5
    step_norms: None = None
    smoothed: bool = False
    free: bool = True

    def read(self, t: int, parameter: int) -> NDArray[Any]:
        """Return one parameter of a knot."""
        offsets = layout().offsets
        return self.rows[t, offsets[parameter] : offsets[parameter + 1]]


def main(folder: Path) -> None:
    """Write the bundles into a new folder."""
    folder.mkdir(parents=True)
    two = (walk(1, 6), walk(2, 6))
    for codec in ("none", "zstd", "archive"):
        write(folder / f"full-{codec}.mtt", walk(1, 36), encoding="full", codec=codec)
    for name, dtype in (("F16", np.float16), ("BF16", ml_dtypes.bfloat16), ("F64", np.float64)):
        path = folder / f"full-{name.lower()}.mtt"
        write(path, walk(3, 6, dtype), dtype=name, encoding="full", codec="archive")
    write(folder / "full-appended.mtt", two[0], walk(4, 3), encoding="full", codec="zstd")
    append(folder / "full-appended.mtt", walk(5, 9))

    write(folder / "convex-two.mct", *two, encoding="convex")
    write(folder / "convex-knots.mct", *two, encoding="convex", knots=(1, 3))
    write(folder / "convex-smoothed.mct", *two, encoding="convex", knots=(1, 3), smooth=True)
    write(folder / "convex-gram.mct", *two, encoding="convex", gram=True)
    write(folder / "convex-shards.mct", *two, encoding="convex", knots=(2,), shard_bytes=1000)
    write(folder / "convex-cast.mct", *two, dtype="BF16", encoding="convex", cast=True)
    write(folder / "convex-appended.mct", two[0], encoding="convex")
    append(folder / "convex-appended.mct", walk(6, 9))
    with trajfmt.create(folder / "convex-free.mct", layout(), encoding="convex") as writer:
        u = np.linspace(0, 1, 5)[:, None] ** np.linspace(0.5, 2, layout().num_layers)
        writer.add(Free(two[0][[0, 5]], u))

    with tempfile.TemporaryDirectory() as scratch:
        source = checkpoints(Path(scratch) / "run", walk(7, 6))
        convert(source, folder / "full-buffers.mtt", ConvertOptions(dataset="CIFAR10"))
        convert(source, folder / "convex-buffers.mct", ConvertOptions(dataset="CIFAR10", knots=(2,)))
        convert(source, folder / "convex-layers.mct", ConvertOptions(layers="module", buffers="drop"))
    (folder / "holds.json").write_text(json.dumps(all_of(folder), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
