"""The arguments in the log of a run."""

from __future__ import annotations

import os
from pathlib import Path

from trajfmt.sources.pairs_and_graphs.log import LOG, Log, read_log


def test_arguments_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Plain values are kept, calls and lists only as texts, and lines that are cut or odd say nothing."""
    (tmp_path / LOG).write_text(
        "10:00 args = Namespace(lr=0.1, cuda=device(type='cuda'), widths=[1, 2], name='a) b')  \n"
        "args = Namespace(lr=0.2, cut\nargs = Namespace(lr=)\nargs = other(lr=0.3)\n"
    )
    log = read_log(tmp_path)
    assert log.arguments == {"lr": 0.1, "name": "a) b"}
    assert log.written == {"lr": "0.1", "cuda": "device(type='cuda')", "widths": "[1, 2]", "name": "'a) b'"}
    assert log.differing == {}


def test_lists_that_differ_are_told(tmp_path: Path) -> None:
    """They are no numbers and no texts, and differ all the same."""
    (tmp_path / LOG).write_text("args = Namespace(a=[1], b=2)\nargs = Namespace(a=[2])\n")
    assert read_log(tmp_path) == Log({"b": 2}, {"a": ["[1]", "[2]"]}, {"b": "2"})


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """Opening it would wait for a writer."""
    os.mkfifo(tmp_path / LOG)
    assert read_log(tmp_path) == Log({}, {}, {})
