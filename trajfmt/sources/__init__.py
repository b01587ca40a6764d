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

from trajfmt.sources.base.collection import Collection, FileLayout, Part
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.discovery import open_source, recognise
from trajfmt.sources.mtt_family.replay import ReplayPart
from trajfmt.sources.table import LAYOUTS
from trajfmt.sources.torchfile import unpickle

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
