"""Replay buffers of MTT, and of relatives whose files cannot be told from MTT's."""

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
    """Return the replay buffers of a folder, or one file.

    The codebase is recorded only if the user or the name of a folder states it. The unit of a timestep is
    recorded only if the user names the file layout or the path contains a known model: graph codebases write
    files of the same names every 10 epochs.

    Raises:
        SourceError: there are no replay buffers.
    """
    found = open_replay(path, options, _WRITER)
    known, origin = found.provenance, dict(found.provenance.known_from)
    if not options.chosen:
        if folder_named(found.folder, _WRITER.folders) is None:
            known, _ = msgspec.structs.replace(known, recipe=None), origin.pop("recipe")
        if found.facts.model is None:
            known, _ = msgspec.structs.replace(known, timestep=None), origin.pop("timestep")
    return replace(found, provenance=msgspec.structs.replace(known, known_from=origin))


LAYOUT: Final = FileLayout(
    name="mtt", title=_WRITER.title, files=_WRITER.files, recognise=recognise, open=open_mtt
)
