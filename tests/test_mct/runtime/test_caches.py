"""Where torch keeps what it compiles."""

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.runtime.caches import COMPILER_VARIABLE, keep_compiled  # noqa: E402


def test_place_of_compiled_code(tmp_path: Path, monkeypatch) -> None:
    """Beside the whitenings, unless torch's own variable says where, or nothing can be written."""
    monkeypatch.setenv(COMPILER_VARIABLE, "/theirs")
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    keep_compiled()
    assert not (tmp_path / "cache").exists()
    monkeypatch.delenv(COMPILER_VARIABLE)
    keep_compiled()
    place = Path(os.environ[COMPILER_VARIABLE])
    assert place.parent == tmp_path / "cache" / "compiled"
    assert place.is_dir()
    assert f"-{torch.backends.cpu.get_cpu_capability()}-" in place.name
    monkeypatch.delenv(COMPILER_VARIABLE)
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "file"))
    keep_compiled()
    assert COMPILER_VARIABLE not in os.environ
