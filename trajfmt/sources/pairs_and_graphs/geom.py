"""Replay buffers of GEOM: networks on graphs, trained with a curriculum. A timestep is 10 epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.pairs_and_graphs.graphs import (
    graph_writer,
    open_graphs,
    recognise_graphs,
    run_folder,
)
from trajfmt.sources.pairs_and_graphs.log import read_log

__all__ = ["LAYOUT"]

_WRITER: Final = graph_writer("GEOM", "GEOM: graph networks, trained by a curriculum")


def _has_lam(folder: Path) -> bool:
    log = read_log(folder)
    return "lam" in log.arguments or "lam" in log.differing


def _recognise(path: Path) -> str | None:
    """Return the reason if the name of the folder, or the log, contains a curriculum."""
    files = recognise_graphs(path)
    found = run_folder(path)
    if files is None or found is None:
        return None
    if found["lam"] is not None:
        return f"{files}, lam in its name"
    return f"{files}, lam in train.log" if _has_lam(path) else None


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the replay buffers of a run."""
    return open_graphs(path, options, _WRITER)


LAYOUT: Final = FileLayout(
    name="geom", title=_WRITER.title, files=_WRITER.files, recognise=_recognise, open=_open
)
