"""Replay buffers of SeqMatch, each in the folder of the distilled subset that its experts continue from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from trajfmt.schema.models import PathFacts, facts_of_path, named
from trajfmt.sources.base.collection import FileLayout
from trajfmt.sources.mtt_family.paths import in_form_of_mtt, parts_of
from trajfmt.sources.mtt_family.replay import Writer, layout_of

__all__ = ["LAYOUT"]

_SUFFIX: Final = "_NO_ZCA"


class _Stage(NamedTuple):
    dataset: str
    run: str
    subset: str
    """The name of the distilled subset that the experts continue from."""

    suffix: str
    imagenet: tuple[str, ...]
    model: str


def _stage(folder: Path) -> _Stage | None:
    """Read `logged_files/{dataset}/{run}/{subset}/buffer[_NO_ZCA][/{ImageNet subset}]/{model}`."""
    *above, model = parts_of(folder) or ("",)
    between: tuple[str, ...] = ()
    if above and above[-1] not in ("buffer", "buffer" + _SUFFIX):
        between, above = (above[-1],), above[:-1]
    if len(above) < 5 or above[-5] != "logged_files" or named(model) is None:
        return None
    if above[-1] not in ("buffer", "buffer" + _SUFFIX):
        return None
    suffix = above[-1].removeprefix("buffer")
    return _Stage(above[-4], above[-3], above[-2], suffix, between, model)


def _form(folder: Path) -> str | None:
    found = _stage(folder)
    return f"logged_files/…/{found.subset}/buffer{found.suffix} above" if found else None


def _facts(folder: Path) -> PathFacts:
    found = _stage(folder)
    if found is None:
        return facts_of_path(folder)
    inner = (*found.imagenet, "1") if found.imagenet else ()
    return in_form_of_mtt(found.dataset + found.suffix, *inner, found.model)


def _recipe(folder: Path) -> dict[str, Any]:
    found = _stage(folder)
    return {"run": found.run, "after_subset": found.subset} if found else {}


LAYOUT: Final[FileLayout] = layout_of(
    Writer(
        codebase="SeqMatch",
        title="SeqMatch: MTT's files, of experts that continue from a distilled subset",
        files="replay_buffer_{n}.pt in logged_files/{dataset}/{run}/{subset}/buffer[_NO_ZCA]/{model}",
        folders=("seqmatch",),
        form=_form,
        facts=_facts,
        recipe=_recipe,
    )
)
