"""Every example in a docstring does what it says."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trajfmt import ParamLayout

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = {"trajfmt": "trajfmt", "mct": "mct", "cli": "traj_cli"}
NEEDS_TORCH = ("mct", "trajfmt/torch.py")


def _with_examples() -> list[str]:
    files = [file for folder in INSTALLED for file in sorted((ROOT / folder).rglob("*.py"))]
    return [file.relative_to(ROOT).as_posix() for file in files if ">>> " in file.read_text()]


@pytest.mark.parametrize("file", _with_examples())
def test_examples(
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    layout: ParamLayout,
    walk: Callable[..., NDArray[np.generic]],
    write_bundle: Callable[..., Path],
) -> None:
    """In a folder with a bundle `two.mct`, which examples may read; none of them is left out."""
    if file.startswith(NEEDS_TORCH):
        pytest.importorskip("torch")
    write_bundle(layout, walk(layout, 14), name="two.mct")
    monkeypatch.chdir(tmp_path)
    folder, *rest = Path(file).with_suffix("").parts
    module = importlib.import_module(".".join([INSTALLED[folder], *rest]).removesuffix(".__init__"))
    results: Any = doctest.testmod(module)
    assert results.failed == 0, capsys.readouterr().out
    assert getattr(results, "skipped", 0) == 0
    assert results.attempted == sum(
        line.lstrip().startswith(">>> ") for line in (ROOT / file).read_text().splitlines()
    )
