"""The place of a bundle: a path on this machine, or an address for fsspec.

This module tells the two apart and shows an address without credentials. It accesses neither disk nor
network.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

from trajfmt.errors import UsageError, display
from trajfmt.storage.hubpath import hub_path

__all__ = ["Address", "Place", "local", "located"]

_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]*"
_ADDRESS: Final = re.compile(rf"({_SCHEME}::)*{_SCHEME}://")
_LOCAL: Final = re.compile(r"(file|local)://(?!.*::)", re.DOTALL)
_LOGIN: Final = re.compile(r"(?<=://)[^/\s]*@")
_QUERY: Final = re.compile(r"\?((?!::)[^\s'\")>])+")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a bundle, such as `http://host/two.mct` or `zip://two.mct::s3://bucket/all.zip`.

    Converted to text, it has neither its login nor its query, which may contain credentials.
    """

    text: str
    """The address as the user gave it, credentials included."""

    def __str__(self) -> str:
        return without_credentials(self.text)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __truediv__(self, name: str) -> Address:
        """Return the address of a file in this folder, for messages."""
        links = self.text.split("::")
        number = next((i for i, link in enumerate(links) if "://" in link), 0)
        folder, mark, query = links[number].partition("?")
        root = "" if folder.endswith("://") else "/"
        links[number] = f"{folder.rstrip('/') if root else folder}{root}{name}{mark}{query}"
        return Address("::".join(links))

    @property
    def name(self) -> str:
        """The last component of the path in the address, or `bundle` if there is none."""
        for link in self.text.split("::"):
            scheme, _, path = link.partition("://")
            if (found := hub_path(link)) is not None:
                return found.name
            name = PurePosixPath(unquote(path.partition("?")[0])).name
            if name and scheme:
                return name
        return "bundle"


Place = Path | Address
"""The place that a bundle is read from."""


def without_credentials(text: str) -> str:
    """Return a text with the logins and the queries of all addresses replaced by `…`.

    >>> without_credentials("http://me:secret@host/a.mct?signature=1")
    'http://…@host/a.mct?…'
    """
    return _QUERY.sub("?…", _LOGIN.sub("…@", text))


def located(place: str | os.PathLike[str] | Address) -> Place:
    """Return an `Address` for an address, and a `Path` for a path or a `file://` address."""
    if not isinstance(place, str):
        return place if isinstance(place, Address) else Path(place)
    if _LOCAL.match(place):
        return Path(place.partition("://")[2])
    return Address(place) if _ADDRESS.match(place) else Path(place)


def local(place: str | os.PathLike[str]) -> Path:
    """Return the path of something that must be on this machine, such as an output.

    Raises:
        UsageError: `place` is an address.
    """
    if isinstance(place, str) and _ADDRESS.match(place):
        raise UsageError(
            f"{display(Address(place))}: must be a path of this machine; bundles can be read from an"
            " address, but only `traj push` writes to one"
        )
    return Path(place)
