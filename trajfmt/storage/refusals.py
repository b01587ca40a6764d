"""What the Hugging Face hub refuses, as errors of this package that say what to do."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from trajfmt.errors import MissingError, RemoteError, TrajfmtError, UsageError, display
from trajfmt.storage.address import Address

__all__ = ["refusal", "status_of"]

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def refusal(exc: BaseException, place: Address) -> TrajfmtError | None:
    """Return the error for what the hub's client has raised; None if that is no refusal by the hub.

    The classes are recognised by name, so that the client need not be imported.

    Args:
        exc: the error, which may have been raised because of one of the client's.
        place: what was asked for.
    """
    for cause in _causes(exc):
        names = {kind.__name__ for kind in type(cause).__mro__}
        where = display(place)
        if "GatedRepoError" in names:
            return RemoteError(
                f"{where}: access to this repository must be granted; ask for it on its page on"
                f" {_endpoint()}, then {_LOGIN}"
            )
        if "RepositoryNotFoundError" in names:
            return MissingError(
                f"{where}: no such repository, or a private one; check the name (that of a dataset begins"
                f" with hf://datasets/), or {_LOGIN}"
            )
        if "RevisionNotFoundError" in names:
            return MissingError(f"{where}: the repository has no such revision; check what follows the @")
        if "OfflineModeIsEnabled" in names:
            return RemoteError(
                f"{where}: HF_HUB_OFFLINE forbids the network; unset it, or give the folder in the hub's"
                " cache"
            )
        if names & {"HFValidationError", "HfUriError"}:
            return UsageError(f"{where}: not a valid name of a repository")
        if "HfHubHTTPError" in names and status_of(cause) == 401:
            return RemoteError(f"{where}: the hub does not accept the token; {_LOGIN}")
        if "HfHubHTTPError" in names and status_of(cause) == 403:
            return RemoteError(f"{where}: the token does not permit this; use one that does: {_LOGIN}")
    return None


def status_of(exc: BaseException) -> int | None:
    """Return the status of the server's answer that caused an error of aiohttp, httpx or requests."""
    status = getattr(exc, "status", None)
    if status is None:
        status = getattr(getattr(exc, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = exc
    while found is not None:
        yield found
        found = found.__cause__


def _endpoint() -> str:
    endpoint = importlib.import_module("huggingface_hub.constants").ENDPOINT
    return str(endpoint)
