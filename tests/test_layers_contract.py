"""Imports point downwards: cli -> mct -> trajfmt, and within trajfmt from higher floors to lower ones."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("trajfmt", "mct", "cli")

FLOORS = {
    "errors": 0,
    "version": 0,
    "address": 1,
    "cache": 1,
    "layout": 1,
    "beta": 1,
    "codecs": 1,
    "rounding": 2,
    "safetensors": 2,
    "files": 1,
    "source": 2,
    "provenance": 2,
    "manifest": 3,
    "measure": 3,
    "consistency": 4,
    "parse": 5,
    "models": 4,
    "staging": 3,
    "transfer": 2,
    "remote": 4,
    "hdf5": 4,
    "recorder": 4,
    "encodings": 5,
    "bundle": 6,
    "decoded": 6,
    "events": 1,
    "encoder": 6,
    "filing": 6,
    "journal": 6,
    "adding": 7,
    "writer": 8,
    "extract": 7,
    "validate": 7,
    "sources": 7,
    "report": 8,
    "stub": 7,
    "buffer": 8,
    "torch": 9,
    "identify": 8,
    "window": 8,
    "request": 8,
    "export": 10,
    "appending": 9,
    "inputs": 9,
    "destination": 10,
    "convert": 11,
    "plan": 10,
    "__init__": 12,
}
"""What may import what inside trajfmt: only modules of lower floors, or of the same folder."""


def _files(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, package
    return files


def _imports(file: Path) -> list[tuple[str, bool]]:
    """Return every imported module, `from a import b` as `a.b`, and whether it stands at the top.

    What stands there for type checkers alone counts, too.
    """
    found: list[tuple[str, bool]] = []
    tree = ast.parse(file.read_text())
    top = list(tree.body)
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            top += node.body
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            found += [(f"{origin}.{alias.name}", node in top) for alias in node.names]
    return found


def _tops(file: Path) -> set[str]:
    return {name.partition(".")[0] for name, _ in _imports(file)}


@pytest.mark.parametrize("file", _files("trajfmt"), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_trajfmt_imports_nothing_from_above(file: Path) -> None:
    """No command line, no distillation; torch only in the modules that are made for it."""
    assert not _tops(file) & {"mct", "cli", "traj_cli", "click", "rich", "sklearn", "kornia", "PIL"}
    place = file.relative_to(ROOT).as_posix()
    if place not in {"trajfmt/torch.py", "trajfmt/buffer.py"} and not place.startswith("trajfmt/export/"):
        assert "torch" not in _tops(file)


@pytest.mark.parametrize("file", _files("mct"), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_mct_imports_no_command_line(file: Path) -> None:
    """mct yields events; it draws nothing."""
    assert not _tops(file) & {"cli", "traj_cli", "click", "rich"}


@pytest.mark.parametrize("package", OURS)
def test_packages_import_what_they_declare(package: str) -> None:
    """The standard library, each other, and the dependencies of pyproject.toml."""
    allowed = {
        "trajfmt": {
            "numpy",
            "ml_dtypes",
            "msgspec",
            "h5py",
            "zstandard",
            "safetensors",
            "threadpoolctl",
            "torch",
            "trajfmt",
        },
        "mct": {
            "numpy",
            "msgspec",
            "safetensors",
            "torch",
            "kornia",
            "sklearn",
            "PIL",
            "matplotlib",
            "trajfmt",
            "mct",
        },
        "cli": {"numpy", "msgspec", "click", "rich", "torch", "trajfmt", "mct", ""},
    }[package]
    for file in _files(package):
        assert _tops(file) - set(sys.stdlib_module_names) <= allowed, file


@pytest.mark.parametrize("file", _files("trajfmt"), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_inside_trajfmt_point_down(file: Path) -> None:
    """Floors as drawn above; imports are absolute and at the top."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    folder = parts[1] if len(parts) > 2 else None
    own = FLOORS[parts[1]]
    for name, at_top in _imports(file):
        assert not name.startswith("."), f"relative import {name}"
        assert at_top, f"import of {name} inside a function or block"
        if name.partition(".")[0] == "trajfmt":
            target = name.split(".")[1]
            if target in FLOORS and target != folder:
                assert FLOORS[target] < own, f"{'.'.join(parts)} (floor {own}) imports {name}"


def test_floors_name_every_module() -> None:
    """A new module gets its place in the drawing, and a removed one leaves it."""
    found = {path.stem for path in (ROOT / "trajfmt").glob("*.py")} | {
        init.parent.name for init in (ROOT / "trajfmt").glob("*/__init__.py")
    }
    assert found == set(FLOORS)


def test_torch_is_imported_inside_a_function_where_buffers_are_read() -> None:
    """`sources/unpickle.py` names it to importlib, not to an import statement."""
    text = (ROOT / "trajfmt/sources/unpickle.py").read_text()
    assert 'import_module("torch")' in text


@pytest.mark.parametrize("package", OURS)
def test_no_module_works_at_import(package: str) -> None:
    """Module level holds definitions, imports and constants: no loops, no `with`, no bare calls."""
    for file in _files(package):
        if file.name == "__main__.py":
            continue
        for node in ast.parse(file.read_text()).body:
            assert not isinstance(node, (ast.For, ast.While, ast.With, ast.Try)), f"{file}:{node.lineno}"
            bare = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
            assert not bare, f"{file}:{node.lineno}"
