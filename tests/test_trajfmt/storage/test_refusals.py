"""The errors of the hub's client, which are recognised by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trajfmt.errors import MissingError, RemoteError, UsageError
from trajfmt.storage.address import Address
from trajfmt.storage.refusals import refusal, status_of

ADDRESS = Address("hf://me/experts")


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("GatedRepoError", 403, RemoteError),
        ("RepositoryNotFoundError", 401, MissingError),
        ("RevisionNotFoundError", 404, MissingError),
        ("HFValidationError", None, UsageError),
        ("OfflineModeIsEnabled", None, RemoteError),
        ("HfHubHTTPError", 401, RemoteError),
        ("HfHubHTTPError", 403, RemoteError),
        ("HfHubHTTPError", 404, type(None)),
        ("HfHubHTTPError", 503, type(None)),
        ("OSError", None, type(None)),
    ],
)
def test_errors_of_the_client(
    name: str, status: int | None, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the client wraps them; a missing file and a busy server are no refusals."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub")
    error = type(name, (Exception,), {"response": SimpleNamespace(status_code=status)})()
    wrapped = FileNotFoundError("the client's own words")
    wrapped.__cause__ = error
    for exc in (error, wrapped):
        found = refusal(exc, ADDRESS)
        assert type(found) is expected
        assert found is None or str(found).startswith("hf://me/experts: ")


def test_the_client_still_has_these_classes() -> None:
    """A class that it renames would no longer be recognised."""
    errors = pytest.importorskip("huggingface_hub.errors")
    for name in ("GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError", "HfHubHTTPError"):
        assert issubclass(getattr(errors, name), errors.HfHubHTTPError)
    assert hasattr(errors, "HFValidationError")
    assert hasattr(errors, "OfflineModeIsEnabled")


def test_statuses_of_several_libraries() -> None:
    """That of aiohttp is on the error, that of httpx and requests on its answer."""
    assert status_of(type("E", (Exception,), {"status": 404})()) == 404
    assert status_of(type("E", (Exception,), {"response": SimpleNamespace(status_code=503)})()) == 503
    assert status_of(OSError()) is None
