"""Back to the layouts that other code reads: one module per target, one table of them. Needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import ExistsError, TrajfmtError, UsageError, WriteError, display
from trajfmt.export import checkpoints, datm, mct_authors, mtt, towers
from trajfmt.export.base import Job, Target
from trajfmt.export.mtt import BufferWriter
from trajfmt.storage.address import local
from trajfmt.storage.staging import Staging

__all__ = ["TARGETS", "BufferWriter", "Target", "check", "export", "target_named"]

TARGETS: Final[tuple[Target, ...]] = (
    mtt.TARGET,
    datm.TARGET,
    towers.TARGET,
    mct_authors.TARGET,
    checkpoints.TARGET,
)


def target_named(name: str) -> Target:
    """Return a target by its name.

    Raises:
        UsageError: there is none of that name.
    """
    for target in TARGETS:
        if target.name == name:
            return target
    raise UsageError(f"`to` must be one of {', '.join(target.name for target in TARGETS)}, got {name!r}")


def check(bundle: Bundle, *, to: str = "mtt", per_file: int = 10) -> Sequence[str]:
    """Return what a user of a target should know about this bundle.

    Raises:
        UsageError: code that reads the target could not read what an export would write.
    """
    if per_file < 1:
        raise UsageError(f"`per_file` must be >= 1, got {per_file}")
    return target_named(to).check(bundle, per_file)


def export(
    bundle: Bundle,
    destination: str | os.PathLike[str],
    *,
    to: str = "mtt",
    in_place: bool = False,
    per_file: int = 10,
    float32: bool = False,
    on_trajectory: Callable[[int], None] = lambda _index: None,
) -> int:
    """Write a bundle as other code's files, and return the number of trajectories.

    Bit-identical from `full`; from `convex` it is the convexified path at whole timesteps, or for the MCT
    authors' code the knots and betas themselves. Weights stay in mapped files, so memory holds none. Nothing
    is at the destination before all is done.

    Args:
        bundle: what is written.
        destination: a folder that does not exist yet.
        to: name of a target.
        in_place: write stubs of a few hundred bytes that name the bundle, for `trajfmt.torch.load`.
        per_file: trajectories a file.
        float32: give float32 tensors whatever the bundle stores.
        on_trajectory: called with the number of each trajectory that is done.

    Raises:
        ExistsError: the destination exists.
        UsageError: the target's code could not read this bundle.
        WriteError: the destination cannot be written.
    """
    folder = local(destination)
    if os.path.lexists(folder):
        raise ExistsError(f"{display(folder)} already exists; choose another name or remove it")
    check(bundle, to=to, per_file=per_file)
    target = target_named(to)
    staging = Staging(folder, os.urandom(16))
    job = Job(
        bundle=bundle,
        folder=staging.bundle,
        scratch=staging.root,
        per_file=per_file,
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
