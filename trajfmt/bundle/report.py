"""The facts that `traj inspect` shows about a bundle, with its storage by eqs. 11 and 12 of the paper."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle import reader as bundles
from trajfmt.bundle.measuring import measured
from trajfmt.bundle.numbering import Numbering, numbering_of
from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.parts.encoding import Facts
from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.schema.manifest import MINOR, Entry, Manifest
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.address import Address
from trajfmt.trajectory.beta import curve

__all__ = ["SCHEMA", "LayerReport", "Storage", "Summary", "layer_reports", "summarize", "summary_of"]

SCHEMA: Final = "trajfmt.inspect/1"
"""Version of the JSON output. Within a version, fields may be added, but not changed or removed."""


_MOST_PARTS: Final = 20
"""Folders that are listed by name, the largest ones. A manifest may have a folder for every file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The size of a bundle in bytes, compared with that of the MTT replay buffers that it replaces."""

    total: int
    """All files and the manifest."""

    parts: dict[str, int]
    """Size by folder, such as knots, tables or theta, and of the manifest. If there are more than 20 folders,
    `others` is the size of the rest."""

    buffer: int
    """Weights in MTT replay buffers of the same trajectories: every timestep of every trajectory."""

    source: int | None
    """Source files on disk; None if they are unknown, or hold more than the bundle does."""

    ratio: float
    """`total` divided by `source` if it is known, and by `buffer` otherwise."""

    eq11: int
    """Eq. 11 of the paper: K * W over all trajectories, with K = T + 1 and W the bytes of one timestep."""

    eq12: int | None
    """Eq. 12 of the paper: knots * W + K * beta over all trajectories, with beta as L float64 (`convex`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The facts about a bundle."""

    schema: str
    path: str
    kind: Literal["bundle"]
    encoding: str
    version: str
    """Version of the format."""

    generator: str
    """Name and version of the program that wrote the bundle."""

    trajectories: int
    refused: dict[int, str]
    """Why a trajectory cannot be read, by its number: it needs a feature that this library does not know.
    What is said of single trajectories is said of the others, but for the number of timesteps."""

    newer: bool
    """Whether the version is later than that of this library, so that the bundle may hold more than is
    shown."""

    timesteps: tuple[int, int]
    """Smallest and largest number of timesteps of a trajectory."""

    knots: tuple[int, ...] | None
    """Timesteps of the knots, if they are the same for all trajectories (`convex`)."""

    smoothed: bool | None
    codec: str | None
    shards: int
    """Largest number of knot files of a trajectory (`convex`); 0 for `full`."""

    free: int
    """Number of trajectories with a free table; see section 6.7 of the specification."""

    unknown_steps: int
    """Number of convexified trajectories whose step norms are unknown."""

    buffers: int
    """Number of trajectories with module buffers."""

    numbers: tuple[int, int] | None
    """Smallest and largest number of a timestep in its source, if numbers are recorded."""

    numbering: Numbering
    """What the timesteps are: evenly spaced or not, and the same in all trajectories or not."""

    parameters: int
    """P, the number of elements of a weight vector."""

    tensors: int
    """Number of parameter tensors."""

    layers: int
    dtype: str
    provenance: Provenance
    files: int
    integrity: str
    sha256: str
    storage: Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """Measurements of one layer of a trajectory."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the parameters in the layer."""

    elements: int
    share: float
    """`elements` divided by P."""

    path_length: float | None
    """Sum of the step norms; None if they are unknown."""

    displacement: float
    """||theta(T) - theta(0)|| between the stored endpoints."""

    beta: tuple[float, ...]
    """u(t) / S at every timestep: progress along the path from 0 to 1."""


def summarize(path: str | os.PathLike[str] | Address) -> Summary:
    """Describe a bundle. Reads its manifest only.

    Raises:
        MissingError: there is nothing at `path`.
        FormatError: not a bundle that this library can read.
        RemoteError: the address cannot be reached.
    """
    with bundles.open(path) as bundle:
        return summary_of(bundle)


def summary_of(bundle: Bundle) -> Summary:
    """Describe an open bundle, from its manifest alone."""
    manifest, layout = bundle.manifest, bundle.layout
    lengths = _lengths(manifest) or [0]
    entries: Sequence[Entry] = manifest.trajectories
    facts = encoding_of_manifest(manifest).describe(manifest, layout)
    numbers = [number for entry in entries for number in (entry.numbers or ())]
    return Summary(
        schema=SCHEMA,
        path=str(bundle.place),
        kind="bundle",
        encoding=bundle.encoding,
        version=f"{manifest.version.major}.{manifest.version.minor}",
        generator=f"{manifest.generator.name} {manifest.generator.version}",
        trajectories=len(bundle),
        refused={number: error.message for number, error in bundle.refused.items()},
        newer=manifest.version.minor > MINOR,
        timesteps=(min(lengths), max(lengths)),
        knots=facts.knots,
        smoothed=facts.smoothed,
        codec=facts.codec,
        shards=facts.shards,
        free=facts.free,
        unknown_steps=facts.unknown_steps,
        buffers=sum(entry.buffers is not None for entry in entries),
        numbers=(min(numbers), max(numbers)) if numbers else None,
        numbering=numbering_of(manifest),
        parameters=layout.size,
        tensors=len(layout.parameters),
        layers=layout.num_layers,
        dtype=layout.dtype,
        provenance=manifest.provenance,
        files=len(manifest.files) + 1,
        integrity="sha256 recorded for every file; compared by `traj validate`",
        sha256=bundle.sha256,
        storage=_storage(bundle, facts),
    )


def _storage(bundle: Bundle, facts: Facts) -> Storage:
    manifest = bundle.manifest
    parts: dict[str, int] = {}
    for entry in manifest.files:
        part = entry.path.partition("/")[0]
        parts[part] = parts.get(part, 0) + entry.bytes
    total = sum(parts.values()) + bundle.manifest_bytes
    if small := sorted(parts, key=lambda name: parts[name])[:-_MOST_PARTS]:
        rest = sum(parts.pop(part) for part in small)
        parts["others"] = parts.get("others", 0) + rest
    parts["manifest"] = bundle.manifest_bytes
    buffer = sum(_lengths(manifest)) * bundle.layout.nbytes
    source = _source_bytes(manifest, buffer)
    return Storage(
        total=total,
        parts=parts,
        buffer=buffer,
        source=source,
        ratio=total / (source or buffer) if (source or buffer) else 0.0,
        eq11=buffer,
        eq12=facts.eq12,
    )


def _lengths(manifest: Manifest) -> list[int]:
    """Return the number of timesteps of every trajectory, also of those that are refused, in any order."""
    return [entry.timesteps for entry in (*manifest.trajectories, *manifest.refused.values())]


def _source_bytes(manifest: Manifest, buffer: int) -> int | None:
    """Return the size of the source files, if they are replay buffers of the same trajectories."""
    sources = manifest.provenance.sources
    if not sources or not all(source.name.endswith(".pt") for source in sources):
        return None
    total = sum(source.bytes for source in sources)
    # If trajectories were cut or skipped, the files hold more than the bundle, and a comparison would
    # mislead.
    return (
        total
        if buffer <= total <= buffer * 1.5 + 2**20 and manifest.provenance.first_timestep is None
        else None
    )


def layer_reports(trajectory: Trajectory) -> list[LayerReport]:
    """Measure every layer of a trajectory.

    This reads the tables and endpoints of a convexified trajectory, and all timesteps of a full one.
    """
    layout = trajectory.layout
    if isinstance(trajectory, ConvexTrajectory):
        norms, u = trajectory.step_norms, trajectory.u
    else:
        norms = measured(trajectory).step_norms
        u = curve(norms, (0, trajectory.last))
    moved = _displacements(trajectory)
    reports = []
    for index, layer in enumerate(layout.layers):
        members = [layout.parameters[i] for i in layer.parameters]
        elements = sum(member.size for member in members)
        reports.append(
            LayerReport(
                name=layer.name,
                shapes=tuple(member.shape for member in members),
                elements=elements,
                share=elements / layout.size,
                path_length=None if norms is None else float(norms[:, index].sum()),
                displacement=float(moved[index]),
                beta=tuple((u[:, index] / max(u[-1, index], 1.0)).tolist()),
            )
        )
    return reports


def _displacements(trajectory: Trajectory) -> NDArray[np.float64]:
    """Return ||theta(T) - theta(0)|| of each layer, `(L,)` float64."""
    layout = trajectory.layout
    first, last = trajectory.knot(0), trajectory.knot(len(trajectory.knots) - 1)
    squares = np.zeros(layout.num_layers)
    for start, stop, layer in layout.runs:
        for low in range(start, stop, 2**18):
            high = min(low + 2**18, stop)
            difference = last[low:high].astype(np.float64) - first[low:high].astype(np.float64)
            squares[layer] += difference @ difference
    return np.sqrt(squares)
