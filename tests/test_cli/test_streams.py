"""Standard streams that are closed, full or gone: no traceback, and nothing printed elsewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FULL = Path("/dev/full")


def closing(*numbers: int) -> Callable[[], None]:
    """Return a function that closes streams of a process before it starts."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


def outcome(process: Any, *arguments: object, **options: Any) -> tuple[int, bytes, bytes]:
    """Run the command, and return its exit code and what it printed."""
    running = process(*arguments, **options)
    out, err = running.communicate(timeout=60)
    return running.returncode, out or b"", err or b""


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_closed_streams_lead_nowhere(process: Any, bundle: Any, form: list[str]) -> None:
    """What would go to a closed stream is dropped; the other one gets nothing of it."""
    path = bundle()
    expected = outcome(process, "inspect", path, *form)[1]
    assert outcome(process, "inspect", path, *form, preexec_fn=closing(0, 2)) == (0, expected, b"")
    assert outcome(process, "inspect", path, *form, preexec_fn=closing(1)) == (0, b"", b"")
    assert outcome(process, "inspect", "absent", preexec_fn=closing(2)) == (2, b"", b"")
    assert outcome(process, "absent", preexec_fn=closing(0, 1, 2)) == (2, b"", b"")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["inspect", "BUNDLE"], 0),
        (["validate", "BUNDLE"], 0),
        (["sources"], 0),
        (["--help"], 0),
        (["convert", "BUNDLE", "new.mtt", "--dry-run"], 0),
        (["validate", "absent"], 2),
    ],
)
def test_a_closed_stdout_is_the_null_device_for_every_command(
    process: Any, bundle: Any, tmp_path: Path, arguments: list[str], code: int
) -> None:
    """The caller asked for no output, and the exit code is that of the work."""
    path = bundle()
    given = [path if word == "BUNDLE" else word for word in arguments]
    assert outcome(process, *given, cwd=tmp_path, stdout=subprocess.DEVNULL)[0] == code
    found, out, err = outcome(process, *given, cwd=tmp_path, preexec_fn=closing(1))
    assert (found, out) == (code, b"")
    assert b"Traceback" not in err
    assert b"output" not in err


def test_no_file_gets_the_number_of_a_closed_stream(process: Any, bundle: Any, tmp_path: Path) -> None:
    """Messages would be written into it."""
    path, whole = bundle(), tmp_path / "whole.safetensors"
    assert outcome(process, "extract", path, "--t", 1, "-o", whole)[0] == 0
    closed = tmp_path / "closed.safetensors"
    assert outcome(process, "extract", path, "--t", 1, "-o", closed, preexec_fn=closing(0, 1, 2))[0] == 0
    assert closed.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["sources"], ["validate", "out.mct"]])
def test_full_output_is_one_line(process: Any, bundle: Any, tmp_path: Path, arguments: list[str]) -> None:
    """Output that cannot be written is a failure, which is said once."""
    bundle()
    with FULL.open("wb") as full:
        code, _, err = outcome(process, *arguments, stdout=full, cwd=tmp_path)
    assert code == 1
    assert err.startswith(b"error: ")
    assert err.endswith(b"No space left on device\n")
    assert err.count(b"\n") == 1


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["absent"], ["inspect", "absent.mct"], ["sources", "--absent"]])
def test_errors_that_cannot_be_printed_keep_their_code(process: Any, arguments: list[str]) -> None:
    """The exit code alone tells."""
    with FULL.open("wb") as full:
        assert outcome(process, *arguments, stderr=full) == (2, b"", b"")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("mode", ["0", "1"])
def test_paths_that_are_not_utf8(process: Any, bundle: Any, tmp_path: Path, locale: str, mode: str) -> None:
    """They are read, written and shown escaped, in any locale."""
    odd = os.fsencode(tmp_path) + b"/b\xff\xc3.mct"
    os.rename(bundle(), odd)
    plain = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": mode, "PYTHONCOERCECLOCALE": "0"}
    name = os.fsdecode(odd)
    code, out, err = outcome(process, "inspect", name, env=plain)
    assert (code, err) == (0, b"")
    assert b"b\\udcff\\udcc3.mct" in out
    code, out, err = outcome(process, "validate", name, f"{name}.absent", env=plain)
    assert code == 2
    assert b"\\udcff" in out
    assert b"Traceback" not in err
    assert outcome(process, "extract", name, "--t", 1, "-o", f"{name}.safetensors", env=plain)[0] == 0
    assert os.path.exists(odd + b".safetensors")


def test_pipe_whose_reader_is_gone(process: Any) -> None:
    """Nothing is printed, and the exit code says that not everything was."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        assert outcome(process, "--help", stdout=pipe, stderr=subprocess.PIPE) == (1, b"", b"")
