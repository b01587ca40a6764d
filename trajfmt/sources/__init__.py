"""Trajectories in the files of other codebases, one module for each file layout.

This folder reads and never writes. It must not import `convert`, `serve` or `export`.

Modules:
    base: the protocols and base classes that every file layout uses.
    table: the table of all file layouts, the most specific first.
    discovery: finding the file layout of a path, or opening a path with a named one.
    bundles: a bundle as a source.
    torchfile: files that `torch.save` wrote, read in place or by torch.
    mtt_family: replay buffers of MTT and its relatives.
    checkpoints: numbered checkpoints of one training run.
    convexified: trajectories that the MCT authors' code has convexified.
    pairs_and_graphs: pairs of image and text towers, and networks on graphs.
"""

from typing import TYPE_CHECKING

from trajfmt.lazy import names_of

if TYPE_CHECKING:
    from trajfmt.sources.base.collection import Collection, FileLayout, Part
    from trajfmt.sources.base.trajectories import ForeignTrajectory
    from trajfmt.sources.discovery import open_source, recognise
    from trajfmt.sources.mtt_family.replay import ReplayPart
    from trajfmt.sources.table import LAYOUTS
    from trajfmt.sources.torchfile import unpickle
else:
    __getattr__ = names_of(
        __name__,
        {
            "Collection": "base.collection",
            "FileLayout": "base.collection",
            "Part": "base.collection",
            "ForeignTrajectory": "base.trajectories",
            "open_source": "discovery",
            "recognise": "discovery",
            "ReplayPart": "mtt_family.replay",
            "LAYOUTS": "table",
            "unpickle": "torchfile",
        },
    )

__all__ = [
    "LAYOUTS",
    "Collection",
    "FileLayout",
    "ForeignTrajectory",
    "Part",
    "ReplayPart",
    "open_source",
    "recognise",
    "unpickle",
]
