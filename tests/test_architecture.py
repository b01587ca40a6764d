"""Folders are boundaries: what may import what, and that the page which draws it is up to date."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {package: sorted((ROOT / package).rglob("*.py")) for package in ("trajfmt", "mct", "cli")}

ALLOWED = {
    "trajfmt": {
        "errors": "",
        "version": "",
        "lazy": "",
        "platform": "",
        "units": "",
        "codecs": "errors",
        "notebooks": "errors",
        "schema": "errors codecs notebooks",
        "storage": "errors lazy codecs schema",
        "trajectory": "errors lazy schema",
        "encodings": "errors lazy codecs notebooks schema storage trajectory",
        "bundle": "errors version codecs notebooks schema storage trajectory encodings",
        "share": "errors version units schema storage bundle",
        "sources": "errors lazy schema storage trajectory encodings bundle",
        "pages": "errors",
        "reports": "errors version schema storage trajectory encodings bundle pages units",
        "serve": "errors schema storage bundle",
        "torch": "errors schema storage trajectory bundle serve",
        "plots": "errors schema storage trajectory encodings bundle",
        "export": "errors schema storage bundle serve torch",
        "merge": "errors version schema storage encodings bundle sources",
        "convert": "errors version codecs schema storage trajectory encodings bundle sources",
    },
    "mct": {
        "errors": "",
        "settings": "errors",
        "events": "settings",
        "runtime": "errors",
        "learned": "errors",
        "models": "errors runtime",
        "data": "errors runtime",
        "results": "errors runtime settings data learned",
        "plots": "errors runtime data models results",
        "reports": "errors data settings plots results",
        "trajectories": "errors runtime settings data models",
        "objectives": "errors runtime settings data trajectories",
        "initial": "errors runtime data models results trajectories",
        "methods": "errors runtime settings learned data models trajectories objectives inner",
        "condensation": "errors runtime settings data models",
        "api": "settings learned trajectories objectives methods",
        "logs": "errors events runtime",
        "sets": "errors runtime settings data models results trajectories",
        "inner": "errors runtime settings data models objectives",
        "training": "errors runtime data models inner",
        "experts": (
            "errors events runtime settings data models results trajectories inner training evaluation"
        ),
        "evaluation": "errors events runtime settings data models results sets inner training",
        "distillation": (
            "errors events runtime settings learned data models results trajectories initial objectives "
            "inner methods condensation evaluation"
        ),
        "reproduce": (
            "errors events runtime settings data models results plots trajectories objectives inner "
            "evaluation experts distillation"
        ),
    },
}
"""For every folder or module directly below a package, those of the same package that it may import."""

THIRD_PARTY = {
    "trajfmt": (
        "numpy ml_dtypes msgspec h5py zlib_ng zstandard safetensors threadpoolctl torch matplotlib trajfmt"
    ),
    "mct": "numpy msgspec safetensors torch kornia sklearn PIL matplotlib trajfmt mct",
    "cli": "numpy msgspec click rich submitit tomli tomli_w torch trajfmt mct",
}
"""What every package may import besides the standard library."""

LAZY = {"asyncio", "h5py", "matplotlib", "urllib"}
"""What trajfmt imports inside functions: reading a bundle needs none of it, and all take long to import."""

TORCH_IN_TRAJFMT = ("trajfmt/torch.py", "trajfmt/serve/buffer.py", "trajfmt/export/")


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    """Return docs/architecture.py as a module."""
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package", ALLOWED)
def test_rooms_import_only_what_they_may(package: str, architecture: ModuleType) -> None:
    """An import from above fails here, and so does a new room without an entry."""
    assert set(architecture.rooms(package)) == set(ALLOWED[package])
    found = architecture.edges(package)
    surplus = {room: found.get(room, set()) - set(may.split()) for room, may in ALLOWED[package].items()}
    assert {room: more for room, more in surplus.items() if more} == {}


def test_no_two_folders_import_each_other(architecture: ModuleType) -> None:
    """At any depth, of two folders at most one imports from the other.

    A module directly below a package counts as a folder of its own: `errors` is below everything.
    """

    def place(module: str) -> str:
        folder, _, _ = module.rpartition(".")
        return folder if "." in folder else module

    edges: set[tuple[str, str]] = set()
    for package in ALLOWED:
        modules = {_name(file).removesuffix(".py").replace("/", ".") for file in FILES[package]}
        for file in FILES[package]:
            if file.name == "__init__.py":
                continue
            own = place(_name(file).removesuffix(".py").replace("/", "."))
            for name in architecture.imported(file):
                target = next((n for n in (name, name.rpartition(".")[0]) if n in modules), None)
                if target is not None:
                    edges.add((own, place(target)))
    assert len(edges) > 50
    assert sorted(edge for edge in edges if edge[0] < edge[1] and edge[::-1] in edges) == []


def test_imports_of_trajfmt_stand_at_the_top_and_are_absolute() -> None:
    """In trajfmt: an import inside a function would hide an edge from a reader."""
    wrong = []
    for file in FILES["trajfmt"]:
        tree = ast.parse(file.read_text())
        top = set(tree.body)
        for node in tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                top |= set(node.body)
        for node in ast.walk(tree):
            relative = isinstance(node, ast.ImportFrom) and node.level
            lazy = (
                isinstance(node, ast.Import)
                and {alias.name.partition(".")[0] for alias in node.names} <= LAZY
            )
            if isinstance(node, ast.Import | ast.ImportFrom) and not lazy and (relative or node not in top):
                wrong.append(f"{_name(file)}:{node.lineno}")
    assert wrong == []


def test_mct_uses_published_names_of_trajfmt(architecture: ModuleType) -> None:
    """Every import of mct from trajfmt is of a name in the `__all__` of a package, `errors` or `torch`."""
    wrong = []
    for file in FILES["mct"]:
        for name in architecture.imported(file):
            if name.partition(".")[0] != "trajfmt" or name in ("trajfmt", "trajfmt.torch"):
                continue
            module, _, attribute = name.rpartition(".")
            public = importlib.import_module(module)
            is_room = hasattr(public, "__path__") or module in ("trajfmt.errors", "trajfmt.torch")
            if not is_room or attribute not in public.__all__:
                wrong.append(f"{_name(file)}: {name}")
    assert wrong == []


def test_packages_import_what_they_declare(architecture: ModuleType) -> None:
    """The standard library and what `THIRD_PARTY` lists: no command line below cli, no drawing in mct."""
    wrong = []
    for package, files in FILES.items():
        allowed = set(THIRD_PARTY[package].split()) | set(sys.stdlib_module_names)
        for file in files:
            tops = {name.partition(".")[0] for name in architecture.imported(file)}
            wrong += [f"{_name(file)}: {top}" for top in tops - allowed]
    assert wrong == []


def test_trajfmt_imports_torch_only_where_it_says_so(architecture: ModuleType) -> None:
    """In `trajfmt.torch`, `trajfmt.serve.buffer` and `trajfmt.export`."""
    using = [
        _name(file)
        for file in FILES["trajfmt"]
        if "torch" in {name.partition(".")[0] for name in architecture.imported(file)}
    ]
    assert using
    assert [name for name in using if not name.startswith(TORCH_IN_TRAJFMT)] == []


def test_only_figures_are_drawn_with_matplotlib(architecture: ModuleType) -> None:
    """It is an optional dependency of trajfmt, used in `trajfmt/plots` only."""
    using = [
        _name(file)
        for file in FILES["trajfmt"]
        if "matplotlib" in {name.partition(".")[0] for name in architecture.imported(file)}
    ]
    assert using
    assert [name for name in using if not name.startswith("trajfmt/plots/")] == []


def test_no_module_works_at_import() -> None:
    """Module level holds definitions, imports and constants: no loops, no `with`, no bare calls."""
    wrong = []
    for files in FILES.values():
        for file in files:
            if file.name == "__main__.py" or _name(file) == "cli/__init__.py":
                continue  # the latter prepares for Ctrl-C, before anything that takes time is imported
            for node in ast.parse(file.read_text()).body:
                bare = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
                if bare or isinstance(node, ast.For | ast.While | ast.With | ast.Try):
                    wrong.append(f"{_name(file)}:{node.lineno}")
    assert wrong == []


def test_every_folder_describes_its_modules() -> None:
    """The docstring of a folder has a line for each module and folder in it, and for nothing else.

    A line `*` stands for modules that are alike, such as one for each codebase.
    """
    wrong = []
    for package in ALLOWED:
        for init in sorted((ROOT / package).rglob("*/__init__.py")):
            _, _, listed = (ast.get_docstring(ast.parse(init.read_text())) or "").partition("\nModules:\n")
            names = {line.split(":")[0].strip() for line in listed.splitlines() if line[:5].count(" ") == 4}
            there = {file.stem for file in init.parent.glob("*.py")} - {"__init__"}
            there |= {nested.parent.name for nested in init.parent.glob("*/__init__.py")}
            if "*" in names:  # all others are alike, and entries of one table
                names, there = names - {"*"}, names & there
            if names != there:
                wrong.append(f"{_name(init)}: {sorted(names ^ there)}")
    assert wrong == []


def test_page_is_up_to_date(architecture: ModuleType) -> None:
    """`python docs/architecture.py --write` would change nothing."""
    assert architecture.page() == architecture.PAGE.read_text()
