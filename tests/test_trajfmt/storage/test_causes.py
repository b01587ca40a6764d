"""Errors of any backend: the one line that each becomes, and whether another try may help."""

from __future__ import annotations

from typing import Any

import pytest

from trajfmt.errors import RemoteError, UsageError
from trajfmt.storage.address import Address
from trajfmt.storage.causes import (
    BrokenError,
    EndedError,
    NothingThereError,
    TooSlowError,
    first_line,
    translated,
)

pytest.importorskip("fsspec")

PLACE = Address("http://user:secret@host/a")


def error(kind: str, text: str = "", base: type[Exception] = Exception, **facts: Any) -> Exception:
    """Return an error of a class of this name, as another library defines it."""
    made = type(kind, (base,), {})(text)
    made.__dict__.update(facts)
    return made


def translation(exc: Exception) -> Exception:
    """Return what becomes of an error."""
    found: list[Exception] = []
    try:
        with translated(PLACE):
            raise exc
    except Exception as other:
        found.append(other)
    return found[0]


@pytest.mark.parametrize(
    ("exc", "line"),
    [
        (PermissionError(13, "denied"), "access was refused; give credentials"),
        *[(error("E", status=status), "access was refused") for status in (401, 403, 407)],
        (
            error("ClientProxyError", "no way\nmore"),
            "through the proxy that the environment names .*: no way$",
        ),
        (error("ProxyError", os_error=OSError(111, "refused")), r"https_proxy\): refused$"),
        (error("ProxyError"), r"https_proxy\): ProxyError$"),
        (error("TooManyRedirects", status=302), "the server redirects in circles, or away from the web"),
        (error("E", status=500, message="Odd\nmore"), "the server answered 500 Odd$"),
        (error("E", status=500), "the server answered 500$"),
        (error("Odd", "what\nmore"), "cannot be read: what$"),
        (error("Odd"), "cannot be read: Odd$"),
        (TooSlowError("too slow"), "too slow$"),
    ],
)
def test_what_does_not_pass_is_told_once(exc: Exception, line: str) -> None:
    """One line with the address, without credentials; another try is not worth it."""
    found = translation(exc)
    assert type(found) is RemoteError
    (text,) = str(found).splitlines()
    assert "host/a: " in text
    assert "secret" not in text
    with pytest.raises(RemoteError, match=line):
        raise found


@pytest.mark.parametrize(
    ("exc", "line", "sudden"),
    [
        *[(error("E", status=s), f"the server answered {s}", True) for s in (408, 429, 502, 503, 504)],
        (TimeoutError(), "the server stopped answering; try again", False),
        (error("E", os_error=OSError(111, "Connection refused")), "no connection: Connection refused", False),
        (error("E", os_error=OSError(-2, "Name unknown")), "no connection: Name unknown", False),
        (ConnectionResetError(), "the connection ended in the middle; try again", True),
        (error("ClientPayloadError"), "the connection ended in the middle; try again", True),
        (error("ServerDisconnectedError"), "the connection ended in the middle; try again", True),
        (error("ClientOSError", "broken pipe"), "cannot be read: broken pipe", True),
    ],
)
def test_what_may_pass_is_worth_another_try(exc: Exception, line: str, sudden: bool) -> None:
    """At once, or only if something has arrived."""
    found = translation(exc)
    assert isinstance(found, BrokenError)
    assert found.sudden == sudden
    with pytest.raises(BrokenError, match=line):
        raise found


def test_what_callers_decide_about_stays_apart() -> None:
    """A file that is not there, one that ends, and an address that is none."""
    for exc in (FileNotFoundError(), error("E", status=404), error("E", status=410)):
        assert type(translation(exc)) is NothingThereError
    assert type(translation(error("E", status=416))) is EndedError
    assert type(translation(error("InvalidURL"))) is UsageError
    for exc in (NothingThereError(), UsageError("x")):
        assert translation(exc) is exc


def test_the_first_line_of_a_message() -> None:
    """Printable and without credentials; of nothing, nothing."""
    assert first_line("one\ntwo") == "one"
    assert first_line("") == ""
    assert first_line("a\x1b[m").isprintable()
    assert "secret" not in first_line("cannot reach http://user:secret@host/x")
