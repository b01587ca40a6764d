"""Bundles: read, write, validate and describe them.

This folder must not import `sources`, `convert`, `serve` or `export`.

Modules:
    reader: `open` and `Bundle`.
    standing: the manifest at a path, and whether it is still the one that was opened.
    create: `create` and `append`.
    writer: `BundleWriter`, which adds trajectories and publishes the bundle.
    recording: where a recorded trajectory goes, and what becomes of one that cannot be saved there.
    shortened: what a training that ended early leaves out of a recorded trajectory.
    addition: what can be added to a bundle.
    adapted: a trajectory of a bundle as one that can be written.
    agreement: whether what a program says of a trajectory agrees with the bundle.
    difference: settings and facts in which two bundles differ.
    comparison: what `traj diff` shows.
    filing: names for new files in a bundle.
    journal: the finished trajectories of a writer, from which an interrupted run continues.
    decoded: all timesteps of a trajectory as one memory-mapped array.
    measuring: step norms and the Gram matrix of a full trajectory, from its weights.
    validation: the checks of `traj validate`.
    numbering: what the timesteps are: the steps or epochs of the training that they follow.
    extraction: the checkpoints of `traj extract`.
    report: the facts that `traj inspect` shows.
"""

from trajfmt.bundle.agreement import unlike_ends
from trajfmt.bundle.decoded import timesteps_of
from trajfmt.bundle.difference import Difference, differences
from trajfmt.bundle.numbering import Numbering, numbering_of, numbers
from trajfmt.bundle.reader import Bundle, Trajectory, open

__all__ = [
    "Bundle",
    "Difference",
    "Numbering",
    "Trajectory",
    "differences",
    "numbering_of",
    "numbers",
    "open",
    "timesteps_of",
    "unlike_ends",
]
