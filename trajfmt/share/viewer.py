"""The index by which the hub's viewer of safetensors files finds knots.

The viewer opens any `.safetensors` file of a repository. For the page of a model it looks for an index of
this name at the root. In such an index a tensor has one name and one file, but every trajectory has tensors
of the same names. The index therefore lists the knots of the first trajectory.
"""

from __future__ import annotations

from typing import Any, Final

from trajfmt.bundle.reader import Bundle
from trajfmt.schema.canonical import canonical
from trajfmt.schema.manifest import ConvexManifest, numbered
from trajfmt.storage.safetensors import SafetensorsFile

__all__ = ["NAME", "index"]

NAME: Final = "model.safetensors.index.json"
"""What the hub calls the index of the weights of a model."""


def index(bundle: Bundle) -> bytes | None:
    """Return the index of the knots of the first trajectory that can be read, as JSON.

    Its `total_parameters` are those of the network, which the page of a model shows as the size.

    Args:
        bundle: a bundle on this machine.

    Returns:
        None if the bundle has no knots in safetensors files, as `.mtt` bundles do not.

    Raises:
        FormatError: a file of the bundle is damaged.
    """
    manifest = bundle.manifest
    if not isinstance(manifest, ConvexManifest) or not manifest.trajectories:
        return None
    number, entry = next(iter(numbered(manifest).items()))
    found: dict[str, str] = {}
    for name in entry.weight_files:
        found |= dict.fromkeys(SafetensorsFile(bundle.files.path(name)).tensors, name)
    size = len(bundle[number].knots) * bundle.layout.nbytes
    facts: dict[str, Any] = {"total_parameters": bundle.layout.size, "total_size": size}
    return canonical({"metadata": facts, "weight_map": found}) + b"\n"
