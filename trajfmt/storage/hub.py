"""The Hugging Face hub: its official client, and the commit that a branch means now.

A branch may move while a bundle is read. An address is therefore replaced by that of the commit before its
first file is fetched, so that all files are of one revision.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any, Final

from trajfmt.errors import MissingDependencyError, display
from trajfmt.storage.address import Address, Place
from trajfmt.storage.causes import translated
from trajfmt.storage.hubpath import hub_path

__all__ = ["client", "pinned"]

_PATIENCE: Final = 20.0
"""Seconds after which the hub is given up that does not say what a branch means."""


def pinned(place: Place) -> Place:
    """Return the address of the commit that an address on the hub means now. Other places stay as they are.

    Raises:
        MissingError: there is no such repository or revision, or it is private.
        RemoteError: the hub cannot be reached, or refuses access.
        MissingDependencyError: the package huggingface_hub is not installed.
        UsageError: the address names no repository.
    """
    if not isinstance(place, Address):
        return place
    links = place.text.split("::")
    for number, link in enumerate(links):
        found = hub_path(link)
        if found is not None:
            with translated(place):
                info = (
                    client(place)
                    .HfApi()
                    .repo_info(
                        found.repository, repo_type=found.kind, revision=found.revision, timeout=_PATIENCE
                    )
                )
            links[number] = str(replace(found, revision=info.sha))
    text = "::".join(links)
    return place if text == place.text else Address(text)


def client(where: object) -> Any:
    """Return the module of the hub's official client.

    Args:
        where: what needs it, for the message.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as exc:
        raise MissingDependencyError(
            f"{display(where)}: the hub needs the package huggingface_hub: pip install 'trajfmt[hub]'"
        ) from exc
