"""Print what bundles hold, as JSON: `python read.py FOLDER` reads all bundles in a folder.

It uses only what is public in `trajfmt`, so that it runs with every release. Weights and buffers are stated
by the sha256 of their little-endian bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import trajfmt


def holds(path: Path) -> dict[str, Any]:
    """Return what a bundle holds, after its files have been compared with their hashes.

    The hash of its manifest identifies all its bytes.
    """
    with trajfmt.open(path, verify=True) as bundle:
        return {
            "manifest": bundle.sha256,
            "encoding": bundle.encoding,
            "parameters": [
                [parameter.name, list(parameter.shape), parameter.dtype]
                for parameter in bundle.layout.parameters
            ],
            "layers": [[layer.name, list(layer.parameters)] for layer in bundle.layout.layers],
            "trajectories": [_trajectory(each, bundle.encoding == "convex") for each in bundle],
        }


def _trajectory(trajectory: trajfmt.Trajectory, convex: bool) -> dict[str, Any]:
    whole = range(trajectory.timesteps)
    between = [0.25, 1.5, trajectory.last - 0.125] if convex else []
    return {
        "timesteps": trajectory.timesteps,
        "knots": list(trajectory.knots),
        "numbers": None if trajectory.numbers is None else list(trajectory.numbers),
        "weights": {str(t): _hash(trajectory.at(t)) for t in sorted([*whole, *between])},
        "buffers": {
            str(t): {name: [list(value.shape), _hash(value)] for name, value in found.items()}
            for t in whole
            if (found := trajectory.buffers(t))
        },
    }


def _hash(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def all_of(folder: Path) -> dict[str, Any]:
    """Return what each bundle in a folder holds, by its name."""
    return {path.name: holds(path) for path in sorted(folder.iterdir()) if path.is_dir()}


if __name__ == "__main__":
    json.dump(all_of(Path(sys.argv[1])), sys.stdout, indent=1)
    print()
