"""Keeping freed memory: a setting of glibc, and nothing where there is another C library."""

import ctypes
import platform
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

from mct.runtime.allocator import keep_memory


def test_another_c_library_is_no_error(monkeypatch) -> None:
    """No `mallopt`, or no library at all: False."""

    class Other:
        """A library without mallopt."""

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Other())
    assert keep_memory() is False

    def missing(_):
        raise OSError("none")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert keep_memory() is False


def test_all_thresholds_must_be_accepted(monkeypatch) -> None:
    """Three are set; one that is refused is said."""
    asked: list[int] = []

    class Library:
        """A library that refuses the second setting."""

        def mallopt(self, what: int, _value: int) -> int:
            """Remember what is set."""
            asked.append(what)
            return int(what != -2)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    assert keep_memory() is False
    assert sorted(asked) == [-3, -2, -1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own values")
def test_glibc_accepts_them(python: Callable[..., str]) -> None:
    """In a process of its own: the setting is for good."""
    assert python("from mct.runtime.allocator import keep_memory; print(keep_memory())") == "True\n"
