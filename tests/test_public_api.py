"""Public names are deliberate; importing costs nothing; every module says what it owns."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("name", ["trajfmt", "trajfmt.torch", "mct"])
def test_public_objects_say_what_they_are(name: str) -> None:
    """None is printed as `<object at 0x…>`. Protocols have no objects, and errors have their message."""
    if name != "trajfmt":
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    found = [getattr(module, each) for each in module.__all__ if inspect.isclass(getattr(module, each))]
    assert found
    for each in found:
        assert each.__repr__ is not object.__repr__ or getattr(each, "_is_protocol", False), each


def test_dir_shows_what_is_public() -> None:
    """Completion in a notebook offers the public names and none of the modules behind them."""
    assert dir(trajfmt) == PUBLIC


def test_names_are_loaded_from_where_type_checkers_see_them() -> None:
    """In every package whose names are loaded late, the table for Python says what the imports say."""
    late = []
    for file in sorted((ROOT / "trajfmt").rglob("__init__.py")):
        package = ".".join(file.relative_to(ROOT).parent.parts)
        for block in ast.parse(file.read_text()).body:
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
                late.append(package)
                seen = {
                    name.name: each.module.removeprefix(f"{package}.")
                    for each in block.body
                    if isinstance(each, ast.ImportFrom) and each.module and each.module != package
                    for name in each.names
                }
                (table,) = (node for node in ast.walk(block) if isinstance(node, ast.Dict))
                assert ast.literal_eval(table) == seen, package
    assert "trajfmt" in late


def test_unknown_names_are_refused_as_python_does_it() -> None:
    """The error has what the interpreter needs to propose a similar name."""
    with pytest.raises(AttributeError, match="module 'trajfmt' has no attribute 'opened'") as caught:
        _ = trajfmt.opened  # type: ignore[attr-defined]
    assert (caught.value.name, caught.value.obj) == ("opened", trajfmt)
    with pytest.raises(ImportError, match="cannot import name 'opened' from 'trajfmt'"):
        from trajfmt import opened  # type: ignore[attr-defined]  # noqa: F401


def test_importing_trajfmt_loads_next_to_nothing(python: Callable[..., str]) -> None:
    """A script that only mentions the package waits for nothing; its modules are there when they are used."""
    code = """
import sys
before = set(sys.modules)
import trajfmt
new = set(sys.modules) - before
print(sorted(name for name in new if name.partition(".")[0] not in sys.stdlib_module_names))
print(trajfmt.errors.TrajfmtError is trajfmt.TrajfmtError, "numpy" in sys.modules)
"""
    loaded, later = python(code).splitlines()
    assert ast.literal_eval(loaded) == ["trajfmt", "trajfmt.lazy", "trajfmt.platform", "trajfmt.version"]
    assert later == "True False"


def test_opening_a_bundle_loads_what_reading_needs(
    python: Callable[..., str],
    write_bundle: Callable[..., Path],
    layout: trajfmt.ParamLayout,
    walk: Callable[..., Any],
) -> None:
    """Neither what writes bundles, nor what speaks to servers, nor libhdf5."""
    code = """
import sys, trajfmt
with trajfmt.open(sys.argv[1]) as bundle:
    repr(bundle), bundle._repr_html_(), bundle[0].at(1)
unused = ["urllib.request", "http.client", "ssl", "socket", "h5py"]
unused += ["trajfmt.encodings.convex.encoder", "trajfmt.encodings.full.encoder", "trajfmt.storage.staging"]
unused += ["trajfmt.bundle.writer", "trajfmt.trajectory.recorder"]
print([name for name in unused if name in sys.modules])
"""
    assert python(code, write_bundle(layout, walk(layout))) == "[]\n"


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


def test_every_module_opens_with_a_docstring() -> None:
    """Its first paragraph is made of sentences."""
    assert len(MODULES) > 30
    offenders = []
    for file in MODULES:
        opening = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n\n")[0]
        if not (opening[:1].isupper() or opening.startswith("`")) or not opening.endswith("."):
            offenders.append(f"{file.relative_to(ROOT)}: {opening!r}")
    assert offenders == []


def test_every_module_of_trajfmt_names_what_it_exports() -> None:
    """Where a function or class is public there is an `__all__`; ruff keeps it sorted."""
    offenders = []
    for file in sorted((ROOT / "trajfmt").rglob("*.py")):
        body = ast.parse(file.read_text()).body
        public = [
            node.name
            for node in body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        ]
        constants = {
            ast.unparse(target) for node in body if isinstance(node, ast.Assign) for target in node.targets
        }
        if public and "__all__" not in constants:
            offenders.append(f"{file.relative_to(ROOT)}: {', '.join(public)}")
    assert offenders == []
