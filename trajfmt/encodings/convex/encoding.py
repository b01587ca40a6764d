"""The entry of `convex` in the table of encodings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from trajfmt.encodings import convex
from trajfmt.encodings.convex.curves import TOLERANCE, deviation
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.parts.encoding import About, Encoder, Encoding, Facts, Options
from trajfmt.encodings.parts.tables import SCALES
from trajfmt.errors import CorruptError, FormatError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ConvexEntry, ConvexManifest, entry_at, numbered
from trajfmt.storage.datasets import Dataset, Datasets, Scale
from trajfmt.storage.files import BundleFiles

__all__ = ["ENCODING"]


def _encoder(options: Options, layout: ParamLayout) -> Encoder:
    return convex.encoder.encoder(options, layout)


def _continued(manifest: ConvexManifest, options: Options) -> Encoder:
    return convex.encoder.continued(manifest, options)


def _read(files: BundleFiles, layout: ParamLayout, manifest: ConvexManifest, number: int) -> ConvexTrajectory:
    entry = entry_at(manifest, number)
    about = About(provenance=manifest.provenance, origin=entry.origin, smoothed=manifest.smoothed)
    return ConvexTrajectory(files, layout, entry, number, about)


def _datasets(manifest: ConvexManifest, layout: ParamLayout) -> dict[str, Datasets]:
    files: dict[str, Datasets] = {}
    for index, entry in numbered(manifest).items():
        table, count = entry.table, entry.timesteps
        shapes, offsets = {"u": (count, layout.num_layers)}, {"u": table.u}
        if table.step_norms is not None:
            shapes["step_norms"] = (count - 1, layout.num_layers)
            offsets["step_norms"] = table.step_norms
        if table.gram is not None:
            shapes["gram"], offsets["gram"] = (count, count), table.gram
        datasets = files.setdefault(table.file, {})
        for name, shape in shapes.items():
            datasets[f"{index:05d}/{name}"] = Dataset(shape, "<f8", offsets[name])
            for scale, size in zip(SCALES[name], shape, strict=True):
                datasets[f"{index:05d}/{scale}"] = Scale(size, "S" if scale == "layer" else "i")
    return files


def _check(trajectory: ConvexTrajectory, where: str) -> Iterator[FormatError]:
    """Yield the errors in the tables: u must increase from 0 to S and follow from the step norms by eq. 9."""
    norms, gram = trajectory.step_norms, trajectory.gram
    if gram is not None and not np.isfinite(gram).all():
        yield CorruptError("beta_invalid", f"{where}: `gram` must be finite")
    if norms is not None and not (np.isfinite(norms) & (norms >= 0)).all():
        yield CorruptError("beta_invalid", f"{where}: step norms must be finite and >= 0")
        return
    try:
        u = trajectory.u
    except FormatError as exc:
        yield exc
        return
    if norms is None or trajectory.free:
        return
    error = deviation(u, norms, trajectory.knots)
    if not error <= TOLERANCE:  # which NaN is not, either
        yield CorruptError(
            "beta_invalid",
            f"{where}: beta must follow from the stored step norms by eq. 9, differs by {error:.2g}",
        )


def _describe(manifest: ConvexManifest, layout: ParamLayout) -> Facts:
    entries = manifest.trajectories
    knots = {tuple(entry.knots) for entry in entries}
    stored = sum(len(entry.knots) for entry in entries)
    timesteps = sum(entry.timesteps for entry in entries)
    return Facts(
        knots=knots.pop() if len(knots) == 1 else None,
        smoothed=manifest.smoothed,
        shards=max((len(entry.weight_files) for entry in entries), default=0),
        free=sum(entry.table.free for entry in entries),
        unknown_steps=sum(entry.table.step_norms is None for entry in entries),
        eq12=stored * layout.nbytes + 8 * layout.num_layers * timesteps,
    )


ENCODING: Final = Encoding(
    name="convex",
    suffix=".mct",
    kind="convexified",
    entry=ConvexEntry,
    options=frozenset({"knots", "smooth", "average", "gram"}),
    takes_convexified=True,
    has_tables=True,
    encoder=_encoder,
    continued=_continued,
    read=_read,
    datasets=_datasets,
    check=_check,
    describe=_describe,
)
