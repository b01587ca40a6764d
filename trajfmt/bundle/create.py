"""Writing bundles: a new one, or more into an existing one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from trajfmt.bundle.reader import read_manifest
from trajfmt.bundle.writer import BundleWriter
from trajfmt.codecs.table import DEFAULT
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.encodings.table import ENCODINGS, encoder_for, encoding_of_manifest
from trajfmt.errors import ExistsError, UnsafeError, UsageError, display
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import FILE_NAME, layout_of
from trajfmt.schema.parse import check_writable, parse
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.address import local
from trajfmt.storage.staging import Staging

__all__ = ["BundleWriter", "append", "create"]


def create(
    path: str | os.PathLike[str],
    layout: ParamLayout,
    *,
    encoding: str,
    provenance: Provenance | None = None,
    knots: Sequence[int] = (),
    smooth: bool = False,
    codec: str = DEFAULT,
    gram: bool = False,
    shard_bytes: int = SHARD_BYTES,
    cast: bool = False,
    job: bytes | None = None,
) -> BundleWriter:
    """Start a new bundle.

    Args:
        path: where the bundle will be; nothing may exist there.
        layout: the parameters and what shares a beta.
        encoding: `convex` or `full`.
        provenance: what is known about the experts.
        knots: `convex`: waypoints to insert between the endpoints.
        smooth: `convex`: average inserted knots and the last one with their neighbours.
        codec: `full`: `none`, `zstd` or `archive`.
        gram: `convex`: keep the Gram matrix of the path where T <= 256.
        shard_bytes: `convex`: cut a trajectory's knots into files of at most so many bytes.
        cast: round weights of other float types than the layout's to it, instead of refusing them; betas
            are computed before.
        job: identifies the work, so that an interrupted writer's trajectories are taken over (`recover`).

    Raises:
        ExistsError: something exists at `path`.
        UsageError: the arguments do not fit together.
    """
    destination = local(path)
    if os.path.lexists(destination):
        raise ExistsError(f"{display(destination)} already exists; choose another name or remove it")
    options = Options(
        knots=tuple(knots), smooth=smooth, gram=gram, codec=codec, shard_bytes=shard_bytes, cast=cast
    )
    encoder = encoder_for(encoding, options, layout)
    staging = Staging(destination, job if job is not None else os.urandom(16))
    writer = BundleWriter(staging, layout, ENCODINGS[encoding], encoder, provenance or Provenance(), None)
    try:
        writer.check()
    except BaseException:
        writer.discard()
        raise
    return writer


def append(
    path: str | os.PathLike[str],
    *,
    shard_bytes: int = SHARD_BYTES,
    cast: bool = False,
    job: bytes | None = None,
) -> BundleWriter:
    """Start adding trajectories to an existing bundle, in its own encoding, layers, knots and codec.

    Inserted knots are those of the bundle's first trajectory. `shard_bytes` and `cast` are as for `create`.
    """
    # Two appends to one bundle must meet at one lock, also through a link.
    destination = Path(os.path.realpath(local(path)))
    data = read_manifest(destination)
    base = parse(data, path=destination / FILE_NAME)
    check_writable(base, path=destination / FILE_NAME)
    for folder in ("knots", "tables", "theta", "buffers"):
        if (destination / folder).is_symlink():
            raise UnsafeError("path_unsafe", "a link where a folder is expected", path=destination / folder)
    name = job if job is not None else os.urandom(16)
    staging = Staging(destination, name + hashlib.sha256(data).digest())
    try:
        if read_manifest(destination) != data:
            raise UsageError(f"{display(destination)}: another process has just added to it; run again")
        encoding = encoding_of_manifest(base)
        encoder = encoding.continued(base, Options(shard_bytes=shard_bytes, cast=cast))
        return BundleWriter(staging, layout_of(base), encoding, encoder, base.provenance, base)
    except BaseException:
        staging.release()
        raise
