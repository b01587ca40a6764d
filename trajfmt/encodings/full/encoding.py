"""The entry of `full` in the table of encodings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trajfmt.codecs.codec import unsigned
from trajfmt.codecs.table import CODECS
from trajfmt.encodings import full
from trajfmt.encodings.full.reader import FullTrajectory
from trajfmt.encodings.parts.encoding import About, Encoder, Encoding, Facts, Options
from trajfmt.errors import FormatError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import FullEntry, FullManifest, entry_at
from trajfmt.storage.datasets import Dataset, Datasets, type_name
from trajfmt.storage.files import BundleFiles

__all__ = ["ENCODING"]


def _encoder(options: Options, layout: ParamLayout) -> Encoder:
    return full.encoder.encoder(options, layout)


def _continued(manifest: FullManifest, options: Options) -> Encoder:
    return full.encoder.continued(manifest, options)


def _read(files: BundleFiles, layout: ParamLayout, manifest: FullManifest, number: int) -> FullTrajectory:
    entry = entry_at(manifest, number)
    about = About(provenance=manifest.provenance, origin=entry.origin)
    return FullTrajectory(files, layout, manifest.codec, entry, number, about)


def _datasets(manifest: FullManifest, layout: ParamLayout) -> dict[str, Datasets]:
    settings, codec = manifest.codec, CODECS[manifest.codec.name]
    dtype = unsigned(layout.numpy_dtype) if codec.integers else layout.numpy_dtype
    files: dict[str, Datasets] = {}
    for entry in manifest.trajectories:
        chunks = ((), ()) if entry.chunks is None else (entry.chunks.offsets, entry.chunks.sizes)
        files.setdefault(entry.file, {})[codec.dataset] = Dataset(
            (entry.timesteps, layout.size),
            type_name(dtype),
            entry.data,
            settings.chunk or 0,
            chunks,
            settings.keyframe,
            tuple(step.number for step in codec.filters),
        )
    return files


def _check(_trajectory: FullTrajectory, _where: str) -> Iterator[FormatError]:
    """Yield no errors, because a full trajectory stores nothing besides weights."""
    yield from ()


def _describe(manifest: FullManifest, _layout: ParamLayout) -> Facts:
    return Facts(codec=manifest.codec.name)


ENCODING: Final = Encoding(
    name="full",
    suffix=".mtt",
    kind="full",
    entry=FullEntry,
    options=frozenset({"codec"}),
    takes_convexified=False,
    has_tables=False,
    encoder=_encoder,
    continued=_continued,
    read=_read,
    datasets=_datasets,
    check=_check,
    describe=_describe,
)
