"""Public names are deliberate; importing costs nothing; every module says what it owns."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

import trajfmt

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(file for package in ("trajfmt", "mct", "cli") for file in (ROOT / package).rglob("*.py"))

PUBLIC = [
    "ArrayTrajectory",
    "Bundle",
    "BundleWriter",
    "CorruptError",
    "ExistsError",
    "FormatError",
    "Layer",
    "MissingDependencyError",
    "MissingError",
    "Model",
    "NotABundleError",
    "ParamLayout",
    "Parameter",
    "Preprocessing",
    "Problem",
    "Provenance",
    "RemoteError",
    "Source",
    "SourceError",
    "TimestepError",
    "TimestepUnit",
    "Trajectory",
    "TrajfmtError",
    "UnsafeError",
    "UsageError",
    "__version__",
    "append",
    "create",
    "open",
]


def test_public_names_are_these() -> None:
    """A change of the interface changes this list too."""
    assert trajfmt.__all__ == PUBLIC == sorted(PUBLIC)


def test_public_names_exist() -> None:
    """Every name can be imported and is documented."""
    for name in set(PUBLIC) - {"__version__"}:
        assert (getattr(trajfmt, name).__doc__ or "").strip(), name


@pytest.mark.parametrize(
    "module", ["trajfmt", "trajfmt.convert", "trajfmt.bundle.report", "trajfmt.bundle.validation"]
)
def test_importing_loads_no_torch_and_prints_nothing(module: str, python: Callable[..., str]) -> None:
    """Reading and writing bundles works without torch; no package of ours above trajfmt is loaded."""
    heavy = {"torch", "sklearn", "kornia", "click", "rich", "mct", "traj_cli"}
    code = f"import {module}, sys; print(sorted({heavy!r} & set(sys.modules)))"
    assert python(code) == "[]\n"


def test_bundles_are_read_and_written_where_torch_cannot_be_imported(
    python: Callable[..., str], tmp_path: Path
) -> None:
    """Both encodings, in a process in which `import torch` fails."""
    code = """
import sys
sys.modules["torch"] = None
import numpy as np, trajfmt
from trajfmt.convert.run import convert
layout = trajfmt.ParamLayout.of([("w", (2, 3))])
theta = np.arange(24, dtype="<f4").reshape(4, 6) ** 2
path = sys.argv[1] + "/a.mtt"
with trajfmt.create(path, layout, encoding="full", codec="archive") as writer:
    writer.add(trajfmt.ArrayTrajectory(theta, layout))
assert convert(path, sys.argv[1] + "/b.mct") == 1
with trajfmt.open(sys.argv[1] + "/b.mct", verify=True) as bundle:
    print(bundle[0].at(3).tolist() == theta[3].tolist())
"""
    assert python(code, tmp_path) == "True\n"


def test_modules_are_found() -> None:
    """The tests below look at something."""
    assert len(MODULES) > 30


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_module_opens_with_a_docstring_and_has_a_sorted_all(file: Path) -> None:
    """One or more sentences, before anything else; public modules name what they export."""
    tree = ast.parse(file.read_text())
    docstring = ast.get_docstring(tree)
    assert docstring
    assert docstring[0].isupper() or docstring[0] == "`"
    assert docstring.splitlines()[0].rstrip().endswith((".", "?", ":", ",", ";")) or "\n" in docstring
