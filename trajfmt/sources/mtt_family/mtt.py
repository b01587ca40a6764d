"""MTT's own buffers, and those of relatives that nothing tells from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from trajfmt.sources.base.collection import FileLayout, Found, OpenOptions
from trajfmt.sources.mtt_family.paths import folder_named, without_resolution
from trajfmt.sources.mtt_family.replay import Writer, open_replay, recognise

__all__ = ["LAYOUT", "open_mtt"]

_WRITER: Final = Writer(
    codebase="MTT",
    title="Matching training trajectories (mtt-distillation), and whatever writes the same files",
    folders=("mtt", "mtt-distillation"),
    facts=without_resolution,
)


def open_mtt(path: Path, options: OpenOptions) -> Found:
    """Return the files; whose they are, and what a timestep is, only as far as user or folders say.

    Graph codebases write files of the same names every 10 epochs, so that the names alone tell no unit.
    """
    found = open_replay(path, options, _WRITER)
    known, origin = found.provenance, dict(found.provenance.known_from)
    if not options.told:
        if folder_named(found.folder, _WRITER.folders) is None:
            known, _ = msgspec.structs.replace(known, recipe=None), origin.pop("recipe")
        if found.facts.model is None:
            known, _ = msgspec.structs.replace(known, timestep=None), origin.pop("timestep")
    return replace(found, provenance=msgspec.structs.replace(known, known_from=origin))


LAYOUT: Final = FileLayout(
    name="mtt", title=_WRITER.title, files=_WRITER.files, recognise=recognise, open=open_mtt
)
