"""Converts distilled images from any file layout to any other; all files are written, or none."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from mct.errors import ConfigError, ExistsError, MissingError
from mct.results import synthetic
from mct.sets import arrays, ours
from mct.sets.base import FileLayout
from mct.sets.settle import Notes, UserFacts, rate_of_user, settle
from mct.sets.table import Opened, named, open_set
from trajfmt.storage import write_file

_MOST_CLASSES: Final = 100_000
"""Largest number of classes of logits. A larger one is probably a typing error, and would exhaust memory."""


def convert_images(
    source: Path,
    dest: Path,
    *,
    layout: str | None = None,
    to: str | None = None,
    user: UserFacts | None = None,
    classes: int | None = None,
    experiment: int | None = None,
    trust_pickle: bool = False,
    root: Path | None = None,
    notes: Notes | None = None,
) -> None:
    """Convert distilled images from one file layout to another.

    Args:
        source: A file or folder of any layout.
        dest: A file or folder that does not exist yet.
        layout: Name of the layout of `source`; None: it is recognised.
        to: Name of the layout of `dest`; None: ours for a `.safetensors`, arrays for an `.npz`.
        user: Facts that the files do not state; our own file needs all of them.
        classes: Number of classes, where logits are to be made of class numbers.
        experiment: Number from 0, for files that hold several.
        trust_pickle: Run what a pickle asks for.
        root: Folder of the dataset's files; only for our own file, which holds pixels too.
        notes: Called with one line for what was recognised, and for each fact that is lost.

    Raises:
        MctError: If the images cannot be converted. Nothing is written then.
    """
    target = _target(dest, to)
    user = user or UserFacts()
    opened = open_set(source, layout=layout, experiment=experiment, trust_pickle=trust_pickle, notes=notes)
    if target is ours.LAYOUT:
        _to_ours(opened, dest, user, root, notes)
        return
    found = opened.found
    if user.lr is not None:
        rate = rate_of_user(found.learning_rate or user.lr, user.lr, notes)
        found = replace(found, learning_rate=rate)
    if classes is not None:
        if not 1 <= classes <= _MOST_CLASSES:
            raise ConfigError(f"`classes` must be from 1 to {_MOST_CLASSES}, got {classes}")
        if found.classes not in (None, classes):
            raise ConfigError(f"{source}: has {found.classes} classes, but `classes` is {classes}")
        found = replace(found, classes=classes)
    assert target.write is not None  # checked by `_target`
    result = target.write(found)
    if notes is not None:
        for remark in (*result.remarks, *_unused(user)):
            notes(f"{dest}: {target.name}: {remark}")
    if set(result.files) == {""}:
        write_file(dest, result.files[""])
    else:
        _write_folder(dest, result.files)


def _unused(user: UserFacts) -> Iterator[str]:
    """Yield a remark about facts of the user that only our own file can store."""
    names = ("dataset", "preprocessing", "model")
    if given := [name for name in names if getattr(user, name) is not None]:
        yield f"no place for {' and '.join(given)}; NAME.safetensors has one"


def _target(dest: Path, to: str | None) -> FileLayout:
    """Return the layout to write, before anything is read."""
    if os.path.lexists(dest):
        raise ExistsError(f"{dest} exists; use another name")
    if not dest.absolute().parent.is_dir():
        raise MissingError(f"{dest.absolute().parent}: no such folder; create it first")
    suffixes = {ours.SUFFIX: ours.LAYOUT, arrays.SUFFIX: arrays.LAYOUT}
    if to is None and dest.suffix not in suffixes:
        raise ConfigError(
            f"{dest}: give the layout to write with --to, or use the suffix .safetensors for a file of mct"
        )
    target = suffixes[dest.suffix] if to is None else named(to, "--to")
    if target in suffixes.values() and suffixes.get(dest.suffix) is not target:
        raise ConfigError(
            f"{dest}: the layout {target.name} is a single file, {target.files}; use such a name"
        )
    if target.write is None and target is not ours.LAYOUT:
        raise ConfigError(f"--to {target.name}: this layout can be detected, but not written; use another")
    return target


def _to_ours(opened: Opened, dest: Path, user: UserFacts, root: Path | None, notes: Notes | None) -> None:
    if opened.found.synthetic is not None:
        raise ConfigError(f"{opened.path} is of this layout already; copy the file")
    settled = settle(opened, user, root=root, notes=notes)
    synthetic.save(dest, settled.synthetic, settled.dataset)


def _write_folder(dest: Path, files: Mapping[str, bytes]) -> None:
    """Write all files to a temporary folder beside `dest`, and rename the folder to `dest`."""
    with tempfile.TemporaryDirectory(dir=dest.absolute().parent, prefix=f".{dest.name}.") as temporary:
        folder = Path(temporary) / dest.name
        folder.mkdir()
        for name, data in files.items():
            write_file(folder / name, data)
        folder.rename(dest)
