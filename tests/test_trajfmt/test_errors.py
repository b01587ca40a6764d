"""The error tree: builtins, exit codes, reasons, pickling."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trajfmt
from trajfmt import errors
from trajfmt.errors import Problem, counted, display


@pytest.mark.parametrize(
    ("name", "builtin", "code"),
    [
        ("UsageError", ValueError, 2),
        ("TimestepError", IndexError, 2),
        ("MissingError", FileNotFoundError, 2),
        ("ExistsError", FileExistsError, 2),
        ("SourceError", ValueError, 1),
        ("NotABundleError", ValueError, 3),
        ("CorruptError", ValueError, 4),
        ("UnsafeError", ValueError, 5),
        ("MissingDependencyError", ImportError, 1),
    ],
)
def test_every_error_is_ours_and_a_builtin(name: str, builtin: type[Exception], code: int) -> None:
    """A caller may catch either; commands take the exit code."""
    kind = getattr(errors, name)
    assert issubclass(kind, errors.TrajfmtError)
    assert issubclass(kind, builtin)
    assert kind.exit_code == code


@pytest.mark.parametrize("kind", [errors.SourceError, errors.CorruptError, errors.UnsafeError])
def test_located_errors_survive_pickling(kind: type[errors.FormatError]) -> None:
    """A worker's error arrives with reason and path."""
    error = kind("hash_mismatch", "what", path="where")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.reason, again.path, str(again)) == ("hash_mismatch", "where", str(error))
    assert str(error) == "where: what [hash_mismatch]"


def test_reasons_are_unique() -> None:
    """One code, one meaning."""
    assert len(set(errors.REASONS)) == len(errors.REASONS) > 20


@given(st.text())
def test_display_gives_one_printable_line(text: str) -> None:
    """Whatever the text, nothing in it moves a cursor or breaks a line."""
    shown = display(text)
    assert shown.isprintable()
    assert display(shown) == shown
    if text.isprintable():
        assert shown == text


def test_problem_keeps_what_the_error_said() -> None:
    """Reason, place, message and exit code."""
    problem = Problem.of(trajfmt.UnsafeError("path_unsafe", "why", path="a\x1b"))
    assert (problem.reason, problem.exit_code) == ("path_unsafe", 5)
    assert str(problem) == "a\\x1b: why [path_unsafe]"


def test_one_has_no_s() -> None:
    """Neither has an irregular plural one of its own."""
    assert [counted(n, "knot") for n in (0, 1, 1000)] == ["0 knots", "1 knot", "1,000 knots"]
    assert counted(0, "layer") == "0 layers"
    assert [counted(n, "entry") for n in (1, 2)] == ["1 entry", "2 entries"]
