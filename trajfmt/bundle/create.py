"""Start writing a bundle: create a new one, or append to an existing one."""

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
from trajfmt.errors import ExistsError, LockedError, UnsafeError, display
from trajfmt.schema.arguments import wholes
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import FILE_NAME, layout_of
from trajfmt.schema.parse import check_writable, parse
from trajfmt.schema.provenance import Provenance, require_sound
from trajfmt.storage.address import local
from trajfmt.storage.publishing import complete
from trajfmt.storage.staging import Staging
from trajfmt.storage.writing import occupied

__all__ = ["BundleWriter", "append", "appended", "create"]


def create(
    path: str | os.PathLike[str],
    layout: ParamLayout,
    *,
    encoding: str,
    provenance: Provenance | None = None,
    knots: Sequence[int] = (),
    smooth: bool = False,
    average: int = 1,
    codec: str = DEFAULT,
    gram: bool = False,
    shard_bytes: int = SHARD_BYTES,
    cast: bool = False,
    job: bytes | None = None,
) -> BundleWriter:
    """Start a new bundle.

    The bundle appears at `path` when the writer publishes it, not before.

    Args:
        path: path of the bundle, at which nothing may exist.
        layout: the parameter layout.
        encoding: `convex` or `full`.
        provenance: facts about the experts.
        knots: timesteps of the waypoints to insert between the endpoints (`convex`).
        smooth: average inserted waypoints and the last timestep with their neighbours (`convex`).
        average: number of timesteps of which every knot but the first is the mean (`convex`). An inserted
            knot is in the middle of its timesteps, the last one at their end. Betas are those of a path with
            these means.
        codec: a name in `trajfmt.codecs.table.CODECS` (`full`).
        gram: store the Gram matrix if T <= 256 (`convex`).
        shard_bytes: largest size of a knot file in bytes (`convex`). Knots that are larger together are split
            over several files.
        cast: accept weights of other float types and round them to the type of the layout. Betas are computed
            from the original weights.
        job: bytes that identify the work, see `trajfmt.storage.Staging`. With the same value,
            `BundleWriter.recover` continues from the finished trajectories of an interrupted process.

    Returns:
        A writer, to be used as a context manager.

    Raises:
        ExistsError: something exists at `path`, or an interrupted process with another job has finished
            trajectories for it.
        UsageError: the arguments are invalid, or contradict each other.
        LockedError: another process is writing to `path`.
        TypeError: an argument has another type.
    """
    destination = local(path)
    if not isinstance(layout, ParamLayout):
        raise TypeError(f"`layout` must be a ParamLayout, got {type(layout).__name__}; see ParamLayout.of")
    require_sound(provenance)
    if occupied(destination):
        Staging.sweep(destination)
        raise ExistsError(f"{display(destination)} already exists; choose another name or remove it")
    options = Options(
        knots=wholes("knots", knots),
        smooth=smooth,
        average=average,
        gram=gram,
        codec=codec,
        shard_bytes=shard_bytes,
        cast=cast,
    )
    encoder = encoder_for(encoding, options, layout)
    staging = Staging(destination, job)
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
    """Start appending trajectories to an existing bundle.

    The bundle keeps its encoding, layers and codec. New trajectories get the same inserted waypoints as its
    first trajectory.

    Args:
        path: path of the bundle.
        shard_bytes: largest size of a knot file in bytes, as for `create`.
        cast: accept weights of other float types, as for `create`.
        job: bytes that identify the work, as for `create`.

    Returns:
        A writer, to be used as a context manager.

    Raises:
        MissingError: there is nothing at `path`.
        ExistsError: an interrupted process with another job has finished trajectories for the bundle.
        FormatError: the bundle is damaged, or not a bundle that this library can extend: one of a later minor
            version, or with a trajectory or a feature that it does not know, could not be kept as it is.
        UsageError: its preprocessing cannot be right.
        LockedError: another process is writing to the bundle, or has just done so.
    """
    # Links are resolved, so that two appends to the same bundle compete for the same lock.
    destination = Path(os.path.realpath(local(path)))
    data = read_manifest(destination)
    base = parse(data, path=destination / FILE_NAME)
    check_writable(base, path=destination / FILE_NAME)
    require_sound(base.provenance)
    for folder in ("knots", "tables", "theta", "buffers", "pieces"):
        if (destination / folder).is_symlink():
            raise UnsafeError("path_unsafe", "a link where a folder is expected", path=destination / folder)
    staging = Staging(destination, None if job is None else _job_for(data) + job)
    try:
        if read_manifest(destination) != data:
            raise LockedError(f"{display(destination)}: another process has just appended to it; run again")
        encoding = encoding_of_manifest(base)
        encoder = encoding.continued(base, Options(shard_bytes=shard_bytes, cast=cast))
        return BundleWriter(staging, layout_of(base), encoding, encoder, base.provenance, base)
    except BaseException:
        if staging.empty:
            staging.discard()
        else:
            staging.release()
        raise


def appended(path: str | os.PathLike[str], job: bytes) -> int | None:
    """Return the number of trajectories of a bundle to which an interrupted append has added all of its own.

    Such an append was killed between replacing the manifest and tidying up, which is done now.

    Args:
        path: path of the bundle.
        job: the job of the append.

    Returns:
        None if there is no such append.

    Raises:
        FormatError: there is no bundle at `path`, or it is damaged.
        OSError: the bundle could not be made durable.
    """
    destination = Path(os.path.realpath(local(path)))
    if not complete(destination, b"-" + job):
        return None
    Staging.sweep(destination)
    return len(parse(read_manifest(destination), path=destination / FILE_NAME).trajectories)


def _job_for(manifest: bytes) -> bytes:
    """Return the beginning of the job of an append to a bundle with this manifest."""
    return hashlib.sha256(manifest).hexdigest().encode() + b"-"
