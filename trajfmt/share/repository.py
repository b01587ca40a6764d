"""A repository on the Hugging Face hub, as a bundle is pushed to it: what is in it, and one commit.

All requests go through the hub's official client, which also finds the token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import RemoteError, UsageError, display
from trajfmt.storage.address import Address
from trajfmt.storage.causes import first_line
from trajfmt.storage.hub import client
from trajfmt.storage.hubpath import HubPath
from trajfmt.storage.refusals import refusal, status_of
from trajfmt.version import __version__

__all__ = ["Head", "Repository"]

_MAIN: Final = "main"
_CHANGED: Final = (409, 412)


class Head(NamedTuple):
    """What a branch means, or will mean when it is created."""

    commit: str
    """Its last commit, or that of `main`, from which it will be created."""

    license: str | None
    """The license that the card states there; None if it states none, or several."""

    exists: bool
    """Whether the branch exists."""


class Repository:
    """A repository that a user writes to.

    Args:
        target: the repository, its branch, and the folder for a bundle.

    Raises:
        MissingDependencyError: the client is not installed.
        RemoteError: the user is not logged in.
    """

    def __init__(self, target: HubPath) -> None:
        self._where = Address(str(target))
        self.target = target
        self.branch = target.revision or _MAIN
        self._client = client(self._where)
        if not self._client.get_token():
            raise RemoteError(
                f"{display(self._where)}: no token for the hub; log in with `hf auth login`, or set HF_TOKEN"
            )
        self._api = self._client.HfApi(library_name="trajfmt", library_version=__version__)
        self._named = {"repo_id": target.repository, "repo_type": target.kind}

    @property
    def page(self) -> str:
        """Return the URL of the page of the repository."""
        return f"{self._api.endpoint}/{self.target.page}"

    def exists(self) -> bool:
        """Return whether the repository exists and is visible to the user."""
        with self._asking():
            return bool(self._api.repo_exists(**self._named))

    def is_private(self) -> bool:
        """Return whether the repository is private."""
        with self._asking():
            return bool(self._api.repo_info(**self._named).private)

    def head(self) -> Head:
        """Return what the branch means now, or `main` if there is no such branch yet."""
        with self._asking():
            for branch in (self.branch, _MAIN):
                try:
                    info = self._api.repo_info(**self._named, revision=branch)
                except Exception as exc:
                    if branch == _MAIN or "RevisionNotFoundError" not in type(exc).__name__:
                        raise
                else:
                    break
        license = getattr(info.card_data, "license", None)
        return Head(str(info.sha), license if isinstance(license, str) else None, branch == self.branch)

    def files(self, commit: str) -> dict[str, str]:
        """Return all files at a commit, each with its hash: SHA-256 of a large file, git's of another."""
        with self._asking():
            entries = list(self._api.list_repo_tree(**self._named, recursive=True, revision=commit))
        files = [entry for entry in entries if hasattr(entry, "blob_id")]
        return {entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id for entry in files}

    def create(self, *, private: bool) -> None:
        """Create the repository, with the branch `main`, unless it exists."""
        with self._asking():
            self._api.create_repo(**self._named, private=private or None, exist_ok=True)

    def create_branch(self, start: str) -> None:
        """Create the branch at a commit, unless it exists."""
        with self._asking():
            self._api.create_branch(**self._named, branch=self.branch, revision=start, exist_ok=True)

    def commit(
        self, files: Mapping[str, Path | bytes], removed: Sequence[str], message: str, parent: str
    ) -> str:
        """Upload files in one commit, and return it. Large files that the hub has already are not sent again.

        Args:
            files: by path in the repository, the path on this machine or the contents.
            removed: paths in the repository of files that are removed.
            message: the message of the commit.
            parent: the commit that must still be the last one.

        Raises:
            RemoteError: the branch has moved, or the upload failed.
        """
        add, delete = self._client.CommitOperationAdd, self._client.CommitOperationDelete
        with self._asking("the upload failed", "run the same command again to continue"):
            operations = [
                add(path_in_repo=name, path_or_fileobj=data if isinstance(data, bytes) else str(data))
                for name, data in files.items()
            ]
            operations += [delete(path_in_repo=name) for name in removed]
            made = self._api.create_commit(
                **self._named,
                operations=operations,
                commit_message=message,
                revision=self.branch,
                parent_commit=parent,
            )
        return str(made.oid)

    @contextmanager
    def _asking(self, what: str = "the hub cannot be asked", advice: str = "try again") -> Iterator[None]:
        """Turn the errors of the client into errors of this package."""
        try:
            yield
        except Exception as exc:  # the client raises errors of several libraries
            if (refused := refusal(exc, self._where)) is not None:
                raise refused from exc
            root: BaseException = exc
            while root.__cause__ is not None:
                root = root.__cause__
            if status_of(exc) in _CHANGED:
                raise RemoteError(
                    f"{display(self._where)}: the repository has changed meanwhile; run the command again"
                ) from exc
            if "YAML" in str(exc) or "metadata" in str(exc):
                said = first_line(" ".join(str(exc).split()))
                raise UsageError(f"{display(self._where)}: the hub refuses the card: {said}") from exc
            said = first_line(" ".join(str(root).split())) or type(root).__name__
            raise RemoteError(f"{display(self._where)}: {what}: {said}; {advice}") from exc
