"""A bundle to a repository on the Hugging Face hub, in one commit, with what describes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from trajfmt.bundle.reader import Bundle
from trajfmt.bundle.reader import open as open_bundle
from trajfmt.bundle.report import summary_of
from trajfmt.bundle.standing import read_manifest
from trajfmt.bundle.validation import validate
from trajfmt.errors import (
    CorruptError,
    FormatError,
    NotABundleError,
    UnsafeError,
    UsageError,
    display,
)
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.share import viewer
from trajfmt.share.card import card
from trajfmt.share.croissant import NAME as CROISSANT
from trajfmt.share.croissant import croissant
from trajfmt.share.repository import Repository
from trajfmt.share.target import Standing, goal, inside, look, missing, replaced
from trajfmt.storage.address import Address, located
from trajfmt.storage.hubpath import HubPath

__all__ = ["Phase", "Pushed", "push"]

Phase = Literal["validating", "uploading"]
"""What takes long. During an upload the process may end at any moment: nothing here is to be tidied up."""

_CARD: Final = "README.md"
_ERRORS: Final[Mapping[int, type[FormatError]]] = {3: NotABundleError, 4: CorruptError, 5: UnsafeError}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push has done."""

    address: str
    """The address of the bundle."""

    commit: str
    """The commit that holds it."""

    page: str
    """The URL of the page of the repository."""

    files: int
    """Files of the bundle."""

    bytes: int
    """Their size, that of the manifest included."""

    changed: bool
    """Whether there was anything to do."""

    card_kept: bool = False
    """Whether a card was there and is kept, which may describe the bundle that this one replaces."""


def push(
    path: str | os.PathLike[str],
    target: str,
    *,
    revision: str | None = None,
    kind: str | None = None,
    private: bool = False,
    message: str | None = None,
    license: str | None = None,
    force: bool = False,
    verify: bool = True,
    on_phase: Callable[[Phase], None] = lambda _phase: None,
) -> Pushed:
    """Upload a bundle to the Hugging Face hub, in one commit.

    The repository is created if it does not exist. Beside the manifest lies `croissant.json`; at the root,
    unless the repository has a card already, a card; and for a `.mct` at the root of a model repository the
    index that the hub's viewer looks for. After an interruption, the same call sends what is missing.

    Args:
        path: the bundle on this machine.
        target: `hf://OWNER/NAME[@BRANCH][/FOLDER]`, or `hf://datasets/OWNER/NAME…`.
        revision: the branch, if `target` states none; it is created if it does not exist.
        kind: the kind of the repository, `model` or `dataset`, if `target` states none.
        private: create a private repository.
        message: the message of the commit.
        license: identifier of the license, for the card and for `croissant.json`; None for the one that the
            card in the repository states, if any.
        force: replace another bundle, or other files, at the target.
        verify: validate the bundle first.
        on_phase: called with what begins.

    Raises:
        UsageError: the target names no repository, or a public one where a private one was asked for.
        ExistsError: another bundle, or other files, are at the target.
        FormatError: the bundle is not valid.
        MissingError: there is nothing at `path`, or the repository may not be seen.
        RemoteError: the hub refuses the upload, or cannot be reached.
        MissingDependencyError: the hub's client is not installed.
    """
    place = located(path)
    if isinstance(place, Address):
        raise UsageError(f"{display(place)}: only a bundle on this machine can be pushed; pull it first")
    where = goal(target, revision, kind)
    repository = Repository(where)
    with open_bundle(place) as bundle:
        data = read_manifest(place)
        there = look(repository, private=private)
        removed = replaced(where, there, bundle.manifest, force=force)
        hashes = {inside(where, entry.path): entry.sha256 for entry in bundle.manifest.files}
        stated = None if there.head is None else there.head.license
        if None not in (license, stated) and license != stated:
            raise UsageError(
                f"{display(where)}: the card of the repository states the license {stated}, not {license};"
                f" change the card on {repository.page}"
            )
        files = _files(bundle, data, repository, where, there, license or stated)
        files = missing(where, there, files, hashes, force=force)
        if there.head is not None and there.head.exists and not files and not removed:
            return _done(where, there.head.commit, repository, bundle, changed=False)
        if verify:
            on_phase("validating")
            _require_valid(place)
        on_phase("uploading")
        if there.head is None:
            repository.create(private=private)
        head = there.head or repository.head()
        if not head.exists:
            repository.create_branch(head.commit)
        commit = head.commit
        if files or removed:
            verb = "Add" if there.manifest is None else "Update"
            message = message or f"{verb} {place.absolute().name}"
            commit = repository.commit(files, removed, message, head.commit)
        done = _done(where, commit, repository, bundle, changed=True)
        return replace(done, card_kept=_CARD in there.files and there.manifest not in (None, data))


def _files(
    bundle: Bundle, data: bytes, repository: Repository, where: HubPath, there: Standing, license: str | None
) -> dict[str, Path | bytes]:
    """Return the files of the commit, by path in the repository."""
    name = where.name
    files: dict[str, Path | bytes] = {
        inside(where, entry.path): Path(os.path.realpath(bundle.files.path(entry.path)))
        for entry in bundle.manifest.files
    }
    files[inside(where, FILE_NAME)] = data
    about = croissant(bundle, name=name, url=repository.page, license=license)
    files[inside(where, CROISSANT)] = about
    if _CARD not in there.files:
        text = card(summary_of(bundle), name=name, address=str(where), license=license, kind=where.kind)
        files[_CARD] = text.encode()
    if where.kind == "model" and not where.path and (found := viewer.index(bundle)) is not None:
        files[viewer.NAME] = found
    return files


def _require_valid(path: Path) -> None:
    """Require that a bundle is valid.

    Raises:
        FormatError: the first problem of several.
        MissingError: there is nothing at the path.
    """
    problems = validate(path)
    if not problems:
        return
    first, more = problems[0], len(problems) - 1
    count = f"; `traj validate` shows {more} more" if more else ""
    kind = _ERRORS.get(first.exit_code, CorruptError)
    raise kind(first.reason, f"{first.message}{count}; nothing was uploaded", path=first.where or path)


def _done(where: HubPath, commit: str, repository: Repository, bundle: Bundle, *, changed: bool) -> Pushed:
    sizes = [entry.bytes for entry in bundle.manifest.files]
    return Pushed(
        address=str(where),
        commit=commit,
        page=repository.page,
        files=len(sizes) + 1,
        bytes=sum(sizes) + bundle.manifest_bytes,
        changed=changed,
    )
