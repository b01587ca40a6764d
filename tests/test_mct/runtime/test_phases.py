"""Phases reach the listener of their own context, whatever ends them."""

from __future__ import annotations

import threading

import pytest

from mct.runtime.phases import listening, phase


def test_phases_are_nested_and_end_with_an_error_too() -> None:
    """The listener hears the innermost phase, and None at the end."""
    said: list[str | None] = []

    def work() -> None:
        with phase("loading"):
            with phase("whitening"):
                pass
            raise ValueError("stop")

    with listening(said.append), pytest.raises(ValueError, match="stop"):
        work()
    assert said == ["loading", "whitening", "loading", None]


def test_nobody_else_hears() -> None:
    """Neither after the block, nor from another thread."""
    said: list[str | None] = []

    def elsewhere() -> None:
        with phase("elsewhere"):
            pass

    with listening(said.append):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    with phase("later"):
        pass
    assert said == []


def test_a_dataset_names_what_takes_long(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading, hashing and whitening, in this order."""
    from mct.data.datasets import load
    from mct.data.preprocessing import trajfmt

    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path))
    said: list[str | None] = []
    with listening(said.append):
        load("digits", preprocessing=trajfmt.Preprocessing(kind="zca"))
    names = list(dict.fromkeys(name for name in said if name))
    assert names == ["loading digits", "hashing the images", "whitening the images"]
