"""Pairs of an image tower and a text tower: `img_replay_buffer_{n}.pt` with `txt_replay_buffer_{n}.pt`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import UsageError, display
from trajfmt.export import mtt
from trajfmt.export.base import Job, Target
from trajfmt.schema.layout import ParamLayout
from trajfmt.serve.stub import Kind

__all__ = ["TARGET", "check"]

_PARTS: Final = {"img_replay_buffer": "image", "txt_replay_buffer": "text"}


def check(bundle: Bundle, per_file: int) -> Sequence[str]:
    """Require that all parameters are those of an image tower, followed by those of a text tower.

    Raises:
        UsageError: the bundle has other parameters, or another order.
    """
    parts = [parameter.name.partition(".")[0] for parameter in bundle.layout.parameters]
    if list(dict.fromkeys(parts)) != ["image", "text"] or parts != sorted(parts):
        raise UsageError(
            f"{display(bundle.place)}: must hold an image tower and a text tower, parameters named `image.…`"
            f" and `text.…`; the first is `{display(bundle.layout.parameters[0].name)}`"
        )
    return mtt.check(bundle, per_file)


def write(job: Job) -> None:
    """Write both files of every pair."""
    with ExitStack() as stack:
        writers = []
        for stem, part in _PARTS.items():
            start, stop, layout = _tower(job.bundle.layout, part)
            writer = mtt.BufferWriter(job.folder, layout, per_file=job.per_file, stem=stem)
            writers.append((start, stop, stack.enter_context(writer)))
        for trajectory in job.bundle:
            rows = mtt.rows_of(job, trajectory)
            for start, stop, writer in writers:
                writer.add(rows[:, start:stop])
            job.on_trajectory(trajectory.index)


def _tower(layout: ParamLayout, part: str) -> tuple[int, int, ParamLayout]:
    """Return the range of a tower's parameters in the flat vector, and their parameter layout."""
    chosen = [index for index, p in enumerate(layout.parameters) if p.name.startswith(f"{part}.")]
    names = [(layout.parameters[index].name, layout.parameters[index].shape) for index in chosen]
    own = ParamLayout.of(names, dtype=layout.dtype)
    return layout.offsets[chosen[0]], layout.offsets[chosen[-1] + 1], own


def stubs(job: Job, destination: Path) -> None:
    """Write stubs for both files of every pair."""
    kinds: dict[str, tuple[Kind, str]] = {stem: ("trajectories", part) for stem, part in _PARTS.items()}
    mtt.write_stubs(job, destination, kinds)


TARGET = Target(
    name="towers",
    title="img_replay_buffer_<n>.pt with txt_replay_buffer_<n>.pt, for vision-language distillation, LoRS and"
    " PTM-ST",
    check=check,
    write=write,
    stubs=stubs,
)
