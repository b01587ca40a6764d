"""What lies beside the checkpoints of a source and is not used. Whatever looks like weights is named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from trajfmt.errors import SourceError, counted, display
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.sources.base.unused import left_out
from trajfmt.sources.checkpoints.kind import Kind
from trajfmt.sources.checkpoints.names import Name, has_number, natural
from trajfmt.sources.checkpoints.roles import is_training_state, is_unfinished
from trajfmt.sources.checkpoints.search import Group, find_runs, looks_like_weights, may_be_weights
from trajfmt.sources.checkpoints.walk import folders_below, is_bundle, listed

__all__ = ["another_kind", "is_single", "least_size", "outside", "passed_over", "weights_below"]

_SHARE: Final = 0.1
"""A file of an unknown name with a smaller share of the bytes of a checkpoint is not remarked on."""

_SHOWN: Final = 8
"""Entries of a source's folder that are named one by one."""

_BUNDLE: Final = f"a bundle, since {FILE_NAME} is in it; convert it separately"


def another_kind(folder: Path, found: Sequence[Group], other: Kind) -> dict[Path, str]:
    """Return remarks on runs of another kind that are outside of the runs that are used, by folder."""
    inside = {path for group in found for path in group.checkpoints}
    return {
        group.folder: left_out(
            group.folder, f"a run of {other.what}; convert it separately, with --from checkpoints"
        )
        for group in find_runs(folder, other, [])
        if len(group.checkpoints) > 1
        and not any(path in inside for path in (group.folder, *group.folder.parents))
    }


def is_single(kind: Kind, path: Path) -> bool:
    """Return whether the weights of a checkpoint are found without a question to the user."""
    try:
        return bool(kind.files(path))
    except SourceError:
        return False


def least_size(used: Sequence[Path], kind: Kind) -> float:
    """Return the bytes from which on a file of an unknown name may be weights beside some checkpoints."""
    sizes = [
        sum(file.stat().st_size for file in kind.files(path) if file.is_file())
        for path in used
        if is_single(kind, path)
    ]
    return max(_SHARE * min(sizes), 1) if sizes else float("inf")


def passed_over(folder: Path, paths: Sequence[Path], used: Sequence[Path], kind: Kind) -> list[str]:
    """Return remarks on what may contain weights in the folder of a run and is not used.

    Args:
        folder: the folder of the run.
        paths: what is named already.
        used: the checkpoints of the run.
        kind: the kind of checkpoint.
    """
    notices = []
    files: list[Path] = []
    least = least_size(used, kind)
    forms = {Name.of(path.name).texts for path in used if has_number(path.name)}
    for path in sorted(listed(folder), key=lambda path: natural(path.name)):
        if path in paths:
            continue
        if (why := kind.why_not(path)) is not None:
            notices.append(left_out(path, why))
        elif path.is_file():
            known = not is_training_state(path.name) and looks_like_weights(path, least)
            if used and (known or _fits(path, forms)):
                files.append(path)
        elif is_bundle(path):
            notices.append(left_out(path, _BUNDLE))
        elif path.is_dir():
            below = list(weights_below(path, least))
            if find_runs(path, kind, []):
                number = counted(len(below), "file")
                some = f"{number} of checkpoints inside the folder of a run; convert them separately"
                notices.append(left_out(path, some))
            elif used and below:
                notices.append(f"left out: {_counted(folder, below)}: not in the folder of a step")
            elif Name.of(path.name).texts in forms:
                notices.append(left_out(path, "the folder of a step without weights"))
    if files:
        notices.append(f"left out: {_counted(folder, files)}: no checkpoint of this run, by its name")
    return notices


def _fits(path: Path, forms: set[tuple[str, ...]]) -> bool:
    """Return whether the name of a file has the form of others but for its ending, and is that of no text."""
    *texts, last = Name.of(path.name).texts
    return may_be_weights(path) and any(
        tuple(texts) == form[:-1] and f"{last}.".startswith(f"{form[-1]}.") for form in forms
    )


def outside(root: Path, runs: Sequence[Path], least: float = float("inf")) -> list[str]:
    """Return remarks on what looks like weights below a source and outside of its runs.

    Args:
        root: the folder of the source.
        runs: folders in which nothing is searched, such as those of the runs.
        least: the bytes from which on a file of an unknown name may be weights.
    """
    notices: list[str] = []
    groups: dict[Path, list[Path]] = {}
    skipped: list[Path] = []
    for path in weights_below(root, least, {*runs}, skipped, states=True):
        parts = path.relative_to(root).parents
        unfinished = next((root / part for part in reversed(parts[:-1]) if is_unfinished(part.name)), None)
        inner = root / path.relative_to(root).parts[0]
        groups.setdefault(unfinished or (root if inner == path else inner), []).append(path)
    for place, files in list(groups.items()):
        if place != root and is_unfinished(place.name):
            del groups[place]
            some = f"holds {_counted(root, files)}, and is unfinished or a backup, by its name"
            notices.append(left_out(place.relative_to(root), some))
    for files in list(groups.values())[:_SHOWN]:
        text = f"left out: {_counted(root, files)}: not among the checkpoints of a run"
        notices.append(text)
    if len(groups) > _SHOWN:
        more = sum(map(len, list(groups.values())[_SHOWN:]))
        what = "looks like weights and is" if more == 1 else "look like weights and are"
        notices.append(f"left out: {counted(more, 'more file')} that {what} not in a run")
    return notices + [left_out(path.relative_to(root), _BUNDLE) for path in skipped]


def _counted(root: Path, files: Sequence[Path]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{display(files[0].relative_to(root))}{more}"


def weights_below(
    folder: Path,
    least: float,
    without: Collection[Path] = (),
    bundles: list[Path] | None = None,
    *,
    states: bool = False,
) -> Iterator[Path]:
    """Yield the files below a folder that look like weights.

    Args:
        folder: the folder.
        least: the bytes from which on a file of an unknown name may be weights.
        without: folders that are not searched.
        bundles: receives bundles. They are not searched.
        states: yield the states of training, too, where a folder holds nothing else.
    """
    for _, entries in folders_below(folder, without=without):
        found: list[Path] = []
        others: list[Path] = []
        for path in entries:
            if path.is_dir():
                if bundles is not None and is_bundle(path):
                    bundles.append(path)
            elif looks_like_weights(path, least):
                (others if is_training_state(path.name) else found).append(path)
        yield from found or (others if states else [])
