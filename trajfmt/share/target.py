"""Where a bundle is pushed to: what lies there already, and what a push may replace."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from trajfmt.bundle.standing import read_manifest
from trajfmt.errors import ExistsError, FormatError, UsageError, display
from trajfmt.schema.manifest import FILE_NAME, Manifest
from trajfmt.schema.parse import parse
from trajfmt.share import viewer
from trajfmt.share.repository import Head, Repository
from trajfmt.storage.address import Address
from trajfmt.storage.hubpath import HubPath, hub_path

__all__ = ["Standing", "goal", "inside", "look", "missing", "replaced"]

_KINDS: Final = ("models", "datasets", "spaces")


@dataclass(frozen=True, slots=True)
class Standing:
    """What lies in a repository before a push."""

    head: Head | None = None
    """What the branch means; None if there is no repository yet."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Every file there, with its hash: SHA-256 of a large file, git's of another."""

    manifest: bytes | None = None
    """The manifest of the bundle at the target; None if there is none, and empty if it cannot be read."""

    @property
    def replaceable(self) -> bool:
        """Return whether anything may be replaced: a new branch leaves it where it was."""
        return self.head is not None and not self.head.exists


def goal(target: str, revision: str | None, kind: str | None) -> HubPath:
    """Return the repository, branch and folder that are meant.

    Args:
        target: an address on the hub.
        revision: the branch, if the address states none.
        kind: the kind of the repository, if the address states none.

    Raises:
        UsageError: the target is no address on the hub, or contradicts another argument.
    """
    found = hub_path(target)
    where = display(target)
    if found is None:
        raise UsageError(
            f"{where}: bundles are pushed to the Hugging Face hub; expected hf://OWNER/NAME[@BRANCH][/FOLDER]"
            " or hf://datasets/OWNER/NAME…"
        )
    if kind is not None and kind != found.kind:
        if target.removeprefix("hf://").partition("/")[0] in _KINDS:
            raise UsageError(f"{where}: this is a {found.kind} repository, and not a {kind} repository")
        found = replace(found, kind=kind)
    if found.kind == "space":
        raise UsageError(f"{where}: a space holds a program; push to a model or dataset repository")
    if revision is not None:
        if found.revision not in (None, revision):
            raise UsageError(f"{where}: this is revision {found.revision}, and not {revision}")
        found = replace(found, revision=revision)
    return found


def look(repository: Repository, *, private: bool) -> Standing:
    """Return what is at the target.

    Args:
        repository: the repository.
        private: whether it must be private, or not exist.

    Raises:
        UsageError: the repository is public, and a private one was asked for.
        RemoteError: the hub cannot be reached, or refuses access.
    """
    if not repository.exists():
        return Standing()
    if private and not repository.is_private():
        raise UsageError(
            f"{repository.page}: this repository is public, and a private one is made only if there is none;"
            " make it private in its settings, or omit --private"
        )
    head = repository.head()
    files, manifest = repository.files(head.commit), None
    if inside(repository.target, FILE_NAME) in files:
        try:
            manifest = read_manifest(Address(str(replace(repository.target, revision=head.commit))))
        except FormatError:
            manifest = b""
    return Standing(head, files, manifest)


def replaced(where: HubPath, there: Standing, new: Manifest, *, force: bool) -> list[str]:
    """Return the files in the repository that belong to the bundle there, and not to the new one.

    A bundle to which trajectories were appended has all files of the one before, and replaces it.

    Raises:
        ExistsError: the bundle there has other files, and is not to be replaced.
    """
    if there.manifest is None:
        return []
    try:
        old = {entry.path: entry.sha256 for entry in parse(there.manifest, path=FILE_NAME).files}
    except FormatError:
        old = {"": ""}  # what nobody can read is not the same bundle
    kept = {entry.path: entry.sha256 for entry in new.files}
    if not force and not there.replaceable and not old.items() <= kept.items():
        raise ExistsError(
            f"{display(where)}: another bundle is there; push to another folder, such as"
            f" {replace(where, path='another.mct')}, or replace it with --force"
        )
    gone = {inside(where, path) for path in old.keys() - kept.keys()}
    if not where.path and not any(path.endswith(".safetensors") for path in kept):
        gone.add(viewer.NAME)  # an index of knots that are gone
    return sorted(gone & there.files.keys())


def missing(
    where: HubPath,
    there: Standing,
    files: Mapping[str, Path | bytes],
    hashes: Mapping[str, str],
    *,
    force: bool,
) -> dict[str, Path | bytes]:
    """Return the files that the repository does not have yet, or has with other contents.

    Args:
        where: the target.
        there: what lies there.
        files: the files to be pushed, by path in the repository.
        hashes: the SHA-256 hashes of the files of the bundle, by path in the repository.
        force: whether files that belong to no bundle may be replaced.

    Raises:
        ExistsError: there is another file at such a path, and no bundle that it could belong to.
    """
    found = {}
    for name, data in files.items():
        held = there.files.get(name)
        if held is not None and held in _hashes(data, hashes.get(name)):
            continue
        if held is not None and there.manifest is None and not (force or there.replaceable):
            raise ExistsError(
                f"{display(where)}: another file {display(name)} is there; push to another folder, such as"
                f" {replace(where, path='two.mct')}, or replace it with --force"
            )
        found[name] = data
    return found


def inside(folder: HubPath, name: str) -> str:
    """Return the path in the repository of a file in a folder."""
    return f"{folder.path}/{name}" if folder.path else name


def _hashes(data: Path | bytes, known: str | None) -> set[str | None]:
    """Return the hashes by which the hub may know a file."""
    if isinstance(data, Path):
        return {known}
    return {hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
