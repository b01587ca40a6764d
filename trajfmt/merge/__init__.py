"""Merge bundles into one, without encoding anything again.

This folder must not import `convert`, `serve` or `export`.

Modules:
    run: `merge`: the order of work, which an interrupted run continues.
    order: the order of the trajectories, which does not depend on that of the bundles.
    shared: what may be said of the trajectories of all bundles.
    stored: the files and tables of a trajectory, taken over from its bundle.
"""

from trajfmt.merge.run import Merged, merge

__all__ = ["Merged", "merge"]
