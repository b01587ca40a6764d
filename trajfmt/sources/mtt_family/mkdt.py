"""Replay buffers of MKDT: one trajectory in each file. The folder contains data set and name of the run.

MKDT's networks predict the representations of another network. Their outputs are not classes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from trajfmt.schema.models import PathFacts, facts_of_path
from trajfmt.schema.provenance import Preprocessing
from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.paths import in_form_of_mtt, parts_of
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

_DATASETS: Final = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "tiny": "Tiny", "imagenet": "ImageNet"}
"""MTT's names of data sets, by MKDT's names."""

_CIFAR100: Final = Preprocessing(
    kind="normalize", mean=[0.5071, 0.4865, 0.4409], std=[0.2009, 0.1984, 0.2023]
)
"""The constants of MKDT that differ from MTT's (src/mkdt/utils.py)."""

_FOLDER: Final = re.compile(rf"({'|'.join(sorted(_DATASETS, reverse=True))})(_NO_ZCA)?_(.+)")


def _match(folder: Path) -> re.Match[str] | None:
    """Match a path `{dataset}[_NO_ZCA]_{run}/{model}`."""
    parts = parts_of(folder)
    return _FOLDER.fullmatch(parts[-2]) if len(parts) > 1 else None


def _form(folder: Path) -> str | None:
    return "<dataset in lower case>_<run> above" if _match(folder) else None


def _facts(folder: Path) -> PathFacts:
    found = _match(folder)
    if found is None:
        return facts_of_path(folder)
    facts = in_form_of_mtt(_DATASETS[found[1]] + (found[2] or ""), parts_of(folder)[-1])
    return replace(facts, preprocessing=_CIFAR100) if found[1] == "cifar100" and found[2] else facts


def _recipe(folder: Path) -> dict[str, Any]:
    found = _match(folder)
    return {"run": found[3]} if found else {}


LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="MKDT",
        title="MKDT: MTT's files, one trajectory each, of networks that predict representations",
        files="replay_buffer_{n}.pt, 1 trajectory each, in {dataset}[_NO_ZCA]_{run}/{model}",
        folders=("mkdt",),
        form=_form,
        facts=_facts,
        recipe=_recipe,
    )
)
