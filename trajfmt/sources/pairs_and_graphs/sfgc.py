"""Replay buffers of SFGC: networks on graphs. A timestep is 10 epochs.

SFGC's script for transductive data sets lacks the line that saves. There are no files of those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.pairs_and_graphs.graphs import graph_writer, open_graphs, recognise_graphs

__all__ = ["LAYOUT"]

_WRITER: Final = graph_writer("SFGC", "SFGC: graph networks")


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the replay buffers of a run."""
    return open_graphs(path, options, _WRITER)


LAYOUT: Final = FileLayout(
    name="sfgc", title=_WRITER.title, files=_WRITER.files, recognise=recognise_graphs, open=_open
)
