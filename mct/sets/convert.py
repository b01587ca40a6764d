"""Converting distilled images from one file layout to another.

Either all files are written or none. Notes report what the new layout cannot store.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from mct.errors import ConfigError, ExistsError, MissingError
from mct.results import synthetic
from mct.sets import arrays, ours
from mct.sets.base import DistilledSet, FileLayout
from mct.sets.labels import SUM_TOLERANCE
from mct.sets.settle import Notes, UserFacts, rate_of_user, settle
from mct.sets.table import Opened, named, open_set
from trajfmt.storage import Staging, occupied, write_file

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
        dest: The file or folder to write. It must not exist.
        layout: Name of the layout of `source`; None to detect it.
        to: Name of the layout to write; None to choose it by the suffix of `dest`: `.safetensors` for a file
            of mct, `.npz` for NumPy arrays.
        user: Facts that the user gives. A file of mct needs all facts that the files do not state.
        classes: Number of classes, needed to convert class numbers to logits.
        experiment: Number of the experiment, from 0, if `source` contains several.
        trust_pickle: Whether to load pickles that can execute any code.
        root: Folder of the files of the real dataset, which is only needed to write a file of mct.
        notes: Called with each note for the user: which layout was detected, and what is lost.

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
        lost = (*_without_sums(found), *_without_stages(found, target))
        for remark in (*result.remarks, *_unused(user), *lost):
            notes(f"{dest}: {target.name}: {remark}")
    if set(result.files) == {""}:
        write_file(dest, result.files[""])
    else:
        _write_folder(dest, result.files)


def _unused(user: UserFacts) -> Iterator[str]:
    """Yield a note about facts of the user that only a file of mct can store."""
    names = ("dataset", "preprocessing", "model")
    if given := [name for name in names if getattr(user, name) is not None]:
        yield f"this layout cannot store {' and '.join(given)}; a NAME.safetensors file can"


def _without_sums(found: DistilledSet) -> Iterator[str]:
    """Yield a note about labels that were learned as rows, whose sums weight the images in the training."""
    if found.synthetic is None or not found.synthetic.is_rows or found.synthetic.soft_labels is None:
        return
    sums = found.synthetic.soft_labels.double().sum(1)
    if float((sums - 1).abs().max()) > SUM_TOLERANCE:
        yield (
            "rows of labels are divided by their sums, which are "
            f"{float(sums.min()):.3g} to {float(sums.max()):.3g}: all images have the same weight now"
        )


def _without_stages(found: DistilledSet, target: FileLayout) -> Iterator[str]:
    """Yield a note about the learning rates of earlier stages, unless the layout has stages, too."""
    if found.synthetic is not None and found.synthetic.fixed and target.name != "seqmatch":
        yield "this layout has no stages: the learning rates of earlier ones are not written"


def _target(dest: Path, to: str | None) -> FileLayout:
    """Choose the layout to write, and check `dest`, before anything is read."""
    if occupied(dest):
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
        raise ConfigError(f"{opened.path} is a file of mct already; copy it")
    settled = settle(opened, user, root=root, notes=notes)
    synthetic.save(dest, settled.synthetic, settled.dataset)


def _write_folder(dest: Path, files: Mapping[str, bytes]) -> None:
    """Write all files to a hidden folder beside `dest`, and rename the folder to `dest`, durably."""
    staging = Staging(dest, None)
    try:
        for name, data in files.items():
            write_file(staging.bundle / name, data)
        staging.publish()
    except BaseException:
        staging.discard()
        raise
