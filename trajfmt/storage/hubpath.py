"""Paths on the Hugging Face hub, as its addresses state them.

hf://owner/name                     a model repository
hf://datasets/owner/name            a dataset repository
hf://owner/name@revision/two.mct    a folder of it, at a branch, a tag or a commit
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote, unquote

from trajfmt.errors import UsageError, display

__all__ = ["HubPath", "hub_path"]

_SCHEME: Final = "hf://"
_REVISION: Final = r"refs/(?:convert|pr)/[^/]+|[^/]+"
_KINDS: Final = "models|datasets|spaces"
_PATTERN: Final = re.compile(
    rf"hf://(?:({_KINDS})/)?(?!(?:{_KINDS})/)([\w.-]+/[\w.-]+)(?:@({_REVISION}))?(?:/+(.*?))?/*", re.DOTALL
)
_BUCKET: Final = "hf://buckets/"


@dataclass(frozen=True, slots=True)
class HubPath:
    """A folder in a repository on the hub.

    Example:
        >>> hub_path("hf://datasets/me/experts@v1/two.mct").repository
        'me/experts'
    """

    kind: str
    """Kind of the repository: `model`, `dataset` or `space`."""

    repository: str
    """Owner and name of the repository, `owner/name`."""

    revision: str | None = None
    """A branch, a tag or a commit; None for the branch `main`."""

    path: str = ""
    """The folder in the repository; empty for the repository itself."""

    @property
    def page(self) -> str:
        """Return the path of the page of the repository on the hub's web site."""
        return self.repository if self.kind == "model" else f"{self.kind}s/{self.repository}"

    @property
    def name(self) -> str:
        """Return the name of the folder, or that of the repository if it is the whole of it."""
        return PurePosixPath(self.path or self.repository).name

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{_quoted(self.revision)}"
        return f"{_SCHEME}{self.page}{revision}{self.path and '/' + self.path}"


def hub_path(address: str) -> HubPath | None:
    """Return what an address names on the hub; None if it is no such address, or that of a bucket.

    Raises:
        UsageError: it begins with `hf://` and names no repository.
    """
    if not address.startswith(_SCHEME) or address.startswith(_BUCKET):
        return None
    found = _PATTERN.fullmatch(address)
    if found is None:
        raise UsageError(
            f"{display(address)}: names no repository; expected hf://OWNER/NAME[@REVISION][/FOLDER], or"
            " hf://datasets/OWNER/NAME… for a dataset repository"
        )
    kinds, repository, revision, path = found.groups()
    return HubPath(
        (kinds or "models")[:-1], repository, None if revision is None else unquote(revision), path or ""
    )


def _quoted(revision: str) -> str:
    special = re.fullmatch(r"refs/(convert|pr)/[^/]+", revision)
    return revision if special else quote(revision, safe="")
