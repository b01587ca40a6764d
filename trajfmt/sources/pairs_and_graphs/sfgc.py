"""SFGC's buffers: graph networks, a timestep every 10 epochs.

Its script for transductive data sets leaves out the line that saves; there is nothing of those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.pairs_and_graphs.graphs import graph_writer, open_graphs, recognise_graphs

__all__ = ["LAYOUT"]

_WRITER: Final = graph_writer("SFGC", "SFGC: graph networks")


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the files of a run."""
    return open_graphs(path, options, _WRITER)


LAYOUT: Final = FileLayout(
    name="sfgc", title=_WRITER.title, files=_WRITER.files, recognise=recognise_graphs, open=_open
)
