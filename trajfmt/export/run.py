"""Exporting a bundle to the file layouts of other codebases. One module for each target. Needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import ExistsError, TrajfmtError, UsageError, WriteError, display
from trajfmt.export import checkpoints, datm, mct_authors, mtt, towers
from trajfmt.export.base import Job, Target
from trajfmt.export.losses import losses, order
from trajfmt.export.mtt import BufferWriter
from trajfmt.storage.address import local
from trajfmt.storage.staging import Staging
from trajfmt.storage.writing import occupied

__all__ = ["TARGETS", "BufferWriter", "Target", "check", "export", "target_named"]

TARGETS: Final[tuple[Target, ...]] = (
    mtt.TARGET,
    datm.TARGET,
    towers.TARGET,
    mct_authors.TARGET,
    checkpoints.TARGET,
)


def target_named(name: str) -> Target:
    """Return the target with a name.

    Raises:
        UsageError: no target has this name.
    """
    for target in TARGETS:
        if target.name == name:
            return target
    raise UsageError(f"`to` must be one of {', '.join(target.name for target in TARGETS)}, got {name!r}")


def check(
    bundle: Bundle,
    *,
    to: str = "mtt",
    in_place: bool = False,
    per_file: int | None = None,
    float32: bool = False,
) -> Sequence[str]:
    """Return remarks for the user on an export of a bundle, such as what the files have no place for.

    Args:
        bundle: the bundle.
        to: the name of the target.
        in_place: whether stubs are written, which lose nothing.
        per_file: trajectories in each file; None for the number of the target.
        float32: whether float32 tensors are written.

    Raises:
        UsageError: there is no such target, its codebase could not read the result, or `per_file` does not
            apply to it.
        NotABundleError: a trajectory needs a feature that this library does not know.
    """
    for error in bundle.refused.values():
        raise error
    target = target_named(to)
    notes = [*target.check(bundle, _per_file(target, per_file))]
    if "names" not in target.keeps:
        notes += order(bundle)
    return notes if in_place else [*notes, *losses(bundle, target.keeps, float32=float32)]


def _per_file(target: Target, per_file: int | None) -> int:
    """Return the number of trajectories in each file.

    Raises:
        UsageError: it is less than 1, or the target has no files with several trajectories.
    """
    if per_file is None:
        return target.per_file or 1
    if per_file < 1:
        raise UsageError(f"`per_file` must be >= 1, got {per_file}")
    if target.per_file is None:
        raise UsageError(
            f"`per_file` does not apply to {target.name}: no file has several trajectories; omit it"
        )
    return per_file


def export(
    bundle: Bundle,
    destination: str | os.PathLike[str],
    *,
    to: str = "mtt",
    in_place: bool = False,
    per_file: int | None = None,
    float32: bool = False,
    on_trajectory: Callable[[int], None] = lambda _index: None,
) -> int:
    """Write a bundle as files of another codebase, and return the number of trajectories.

    A full bundle gives the same bits. A convex bundle gives the convexified path at whole timesteps, or, for
    the MCT authors' code, its knots and betas. Weights stay in mapped files. The destination appears when all
    files are complete.

    Args:
        bundle: the bundle.
        destination: a folder that does not exist yet.
        to: the name of the target.
        in_place: write stubs of a few hundred bytes that refer to the bundle, for `trajfmt.torch.load`.
        per_file: trajectories in each file; None for the number of the target, which is 10 for buffers.
        float32: write float32 tensors, whatever the dtype of the bundle.
        on_trajectory: called with the number of each finished trajectory.

    Raises:
        ExistsError: the destination exists.
        UsageError: there is no such target, its codebase could not read the result, or an option does not
            apply to it.
        NotABundleError: a trajectory needs a feature that this library does not know.
        WriteError: the destination cannot be written.
    """
    folder = local(destination)
    if occupied(folder):
        Staging.sweep(folder)
        raise ExistsError(f"{display(folder)} already exists; choose another name or remove it")
    target = target_named(to)
    check(bundle, to=to, in_place=in_place, per_file=per_file, float32=float32)
    staging = Staging(folder, None)
    job = Job(
        bundle=bundle,
        folder=staging.bundle,
        scratch=staging.root,
        per_file=_per_file(target, per_file),
        float32=float32,
        on_trajectory=on_trajectory,
    )
    try:
        if in_place:
            target.stubs(job, staging.destination)
        else:
            target.write(job)
        staging.publish()
    except BaseException as exc:
        staging.discard()
        if isinstance(exc, OSError) and not isinstance(exc, TrajfmtError):
            raise WriteError(f"{display(folder)}: cannot be written: {exc.strerror or exc}") from exc
        raise
    return len(bundle)
