"""Replay buffers of GLaD: MTT's files.

The path contains depth, width and norm of the network, and `_ZCA` if images are whitened.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from trajfmt.schema.models import PathFacts, facts_of_path, named
from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.paths import in_form_of_mtt, parts_of
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

_NORMS: Final = {
    "batchnorm": "batch",
    "instancenorm": "instance",
    "layernorm": "layer",
    "groupnorm": "group",
    "none": "none",
}


class _Form(NamedTuple):
    tanh: bool
    dataset: str
    zca: bool
    model: str
    depth: int
    width: int
    norm: str


def _read(folder: Path) -> _Form | None:
    """Return the parts of a path `[tanh/]{dataset}[_ZCA]/{model}/depth-{d}/width-{w}/{norm}`, or None."""
    parts = parts_of(folder)[-6:]
    if len(parts) < 5 or parts[-1] not in _NORMS:
        return None
    owner, model, depth, width = parts[-5:-1]
    numbers = re.fullmatch(r"depth-(\d{1,2})/width-(\d{1,5})", f"{depth}/{width}")
    if numbers is None:
        return None
    tanh = len(parts) == 6 and parts[0] == "tanh"
    dataset, zca = owner.removesuffix("_ZCA"), owner.endswith("_ZCA")
    return _Form(tanh, dataset, zca, model, int(numbers[1]), int(numbers[2]), _NORMS[parts[-1]])


def _form(folder: Path) -> str | None:
    return "depth-<d>/width-<w>/<norm> in the path" if _read(folder) else None


def _facts(folder: Path) -> PathFacts:
    found = _read(folder)
    if found is None:  # GLaD's code writes no such path, and MTT's rule for whitened images is not its own
        return replace(facts_of_path(folder), preprocessing=None)
    # Images in [-1, 1] are none of the known preprocessings. With `--zca` GLaD's code only renames the
    # folder.
    facts = in_form_of_mtt(found.dataset + ("" if found.zca else "_NO_ZCA"), found.model)
    known = named(found.model)
    if known is not None and known["family"] == "ConvNet":
        known = {**known, "depth": found.depth, "width": found.width, "norm": found.norm}
    return replace(facts, model=known, preprocessing=None if found.tanh or found.zca else facts.preprocessing)


def _recipe(folder: Path) -> dict[str, Any]:
    found = _read(folder)
    return {"tanh": found.tanh} if found else {}


LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="GLaD",
        title="GLaD: MTT's files, depth, width and norm in the path",
        files="replay_buffer_{n}.pt in [tanh/]{dataset}[_ZCA]/{model}/depth-{d}/width-{w}/{norm}",
        folders=("glad",),
        form=_form,
        facts=_facts,
        recipe=_recipe,
    )
)
