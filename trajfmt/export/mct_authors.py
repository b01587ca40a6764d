"""Pairs of files for the MCT authors' code: `waypoint_buffer[_ip{N}]_{n}.pt`, `step_buffer[_ip{N}]_{n}.pt`.

A waypoint file contains trajectories of knots of tensors. A step file contains trajectories of (segments of)
timesteps of 0-d tensors: one beta for every parameter tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import UsageError, display
from trajfmt.export.base import Job, Target
from trajfmt.export.files import ranges, save
from trajfmt.export.mtt import write_stubs
from trajfmt.schema.manifest import ConvexManifest
from trajfmt.serve.buffer import betas
from trajfmt.serve.stub import Kind
from trajfmt.torch import from_readonly

__all__ = ["TARGET", "check", "infix"]

_HARD_CODED: Final = 50
"""The last timestep in the authors' code."""


def infix(bundle: Bundle) -> str:
    """Return the part of the file names that encodes the number of knots, or the ablation."""
    knots = _knots(bundle)
    if knots > 2:
        return f"_ip{knots}"
    recipe = bundle.manifest.provenance.recipe or {}
    ablation = recipe.get("ablation") if recipe.get("codebase") == "MCT" else None
    return f"_{ablation}" if ablation in ("uni", "dec", "proj") else ""


def _knots(bundle: Bundle) -> int:
    """Return the number of knots of the first trajectory."""
    assert isinstance(bundle.manifest, ConvexManifest)
    return len(bundle.manifest.trajectories[0].knots)


def check(bundle: Bundle, per_file: int) -> Sequence[str]:
    """Require convexified trajectories, all with the same number of knots.

    Raises:
        UsageError: the MCT authors' code could not read the files.
    """
    del per_file
    if not isinstance(bundle.manifest, ConvexManifest):
        raise UsageError(
            f"{display(bundle.place)}: the MCT authors' code reads convexified trajectories, but this bundle"
            " contains every timestep; run traj convert to a .mct first (--knots 17,34 --smooth gives what"
            " theirs makes of 51 timesteps)"
        )
    counts = [len(entry.knots) for entry in bundle.manifest.trajectories]
    if not counts:
        raise UsageError(f"{display(bundle.place)}: has no trajectories")
    if len(set(counts)) > 1:
        odd = next(index for index, count in enumerate(counts) if count != counts[0])
        raise UsageError(
            f"{display(bundle.place)}: their code requires the same number of knots in all trajectories;"
            f" trajectory 0 has {counts[0]}, trajectory {odd} has {counts[odd]}"
        )
    notes = [] if bundle.layout.dtype == "F64" else ["betas are rounded from float64 to float32"]
    if bundle.layout.dtype not in ("F32", "F64"):
        notes.append(f"weights are {bundle.layout.dtype}, and written as float32")
    last = min(entry.timesteps - 1 for entry in bundle.manifest.trajectories)
    if last < _HARD_CODED:
        notes.append(
            f"trajectories end at {last}, and their code at {_HARD_CODED}: keep max_start_epoch +"
            f" expert_epochs {'<=' if counts[0] == 2 else '<'} {last}"
        )
    elif counts[0] > 2 and last == _HARD_CODED:
        notes.append("keep max_start_epoch + expert_epochs < 50: at 50 their code gets no weights (None)")
    return [*notes, f"run it with --num_interpolation {counts[0]}"]


def write(job: Job) -> None:
    """Write both files of every pair."""
    name = infix(job.bundle)
    for number, trajectories in ranges(len(job.bundle), job.per_file):
        waypoints, steps = [], []
        for index in trajectories:
            waypoints.append(_waypoints(job, index))
            steps.append(betas(job.bundle, index))
            job.on_trajectory(index)
        save(waypoints, job.folder / f"waypoint_buffer{name}_{number}.pt")
        save(steps, job.folder / f"step_buffer{name}_{number}.pt")


def _waypoints(job: Job, index: int) -> list[list[Any]]:
    """Return the knots as tensors in mapped files. Those of 16 bits become float32, like the betas."""
    trajectory, layout = job.bundle[index], job.bundle.layout
    single = job.float32 or layout.dtype not in ("F32", "F64")
    knots = []
    for k in range(len(trajectory.knots)):
        tensors = [from_readonly(view) for view in layout.split(trajectory.knot(k)).values()]
        knots.append([tensor.float() for tensor in tensors] if single else tensors)
    return knots


def stubs(job: Job, destination: Path) -> None:
    """Write stubs for both files of every pair."""
    name = infix(job.bundle)
    kinds: dict[str, tuple[Kind, None]] = {
        f"waypoint_buffer{name}": ("waypoints", None),
        f"step_buffer{name}": ("steps", None),
    }
    write_stubs(job, destination, kinds)


TARGET = Target(
    name="mct-authors",
    title="waypoint_buffer*_<n>.pt with step_buffer*_<n>.pt, for the MCT authors' distiller; from a .mct",
    check=check,
    write=write,
    keeps=frozenset({"knots"}),
    stubs=stubs,
)
