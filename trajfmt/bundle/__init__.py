"""Bundles: reading, writing, validating, reporting.

It must not import `sources`, `convert`, `serve` or `export`.

Modules:
    reader: `open` and `Bundle`.
    create: `create` and `append`.
    writer: `BundleWriter`: trajectories into a bundle that appears when it is published.
    filing: names and files of what a writer adds.
    journal: what a writer has finished, kept for a continuation.
    decoded: all timesteps of a stored trajectory, mapped.
    validation: what `traj validate` checks.
    extraction: what `traj extract` writes.
    report: what `traj inspect` reports.
"""

from trajfmt.bundle.decoded import timesteps_of
from trajfmt.bundle.reader import Bundle, Trajectory, open

__all__ = [
    "Bundle",
    "Trajectory",
    "open",
    "timesteps_of",
]
