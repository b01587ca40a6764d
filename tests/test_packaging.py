"""What a wheel would hold: every package, typed, and no top-level name that is not ours."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trajfmt

if sys.version_info >= (3, 11):
    import tomllib
else:  # the standard library has it from 3.11 on
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = {"tests", "spec", "benchmarks", "docs", "build", "dist", ".venv"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _folders() -> set[str]:
    return {
        init.parent.relative_to(ROOT).as_posix()
        for init in ROOT.rglob("__init__.py")
        if init.relative_to(ROOT).parts[0] not in NOT_SHIPPED
        and not init.relative_to(ROOT).parts[0].startswith(".")
    }


def test_packages_lists_every_folder_with_an_init(project: dict[str, Any]) -> None:
    """A folder that is forgotten is missing from the wheel only, where nobody looks."""
    setup = project["tool"]["setuptools"]
    mapped = setup["package-dir"]
    folders = {mapped.get(package, package.replace(".", "/")) for package in setup["packages"]}
    assert folders == _folders()
    assert len(setup["packages"]) == len(set(setup["packages"]))


def test_no_wheel_owns_the_name_cli(project: dict[str, Any]) -> None:
    """`cli/` installs as `traj_cli`."""
    setup = project["tool"]["setuptools"]
    assert setup["package-dir"] == {"traj_cli": "cli"}
    assert {package.partition(".")[0] for package in setup["packages"]} == {"trajfmt", "mct", "traj_cli"}
    installed = importlib.metadata.packages_distributions()
    assert "trajfmt" not in installed.get("cli", [])


def test_every_top_level_package_is_typed(project: dict[str, Any]) -> None:
    """py.typed is there and is shipped."""
    assert project["tool"]["setuptools"]["package-data"] == {"*": ["py.typed"]}
    for folder in ("trajfmt", "mct", "cli"):
        assert (ROOT / folder / "py.typed").is_file(), folder


def test_version_is_said_once(project: dict[str, Any]) -> None:
    """The library says it; its metadata and the citation agree."""
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "trajfmt.version.__version__"}
    assert trajfmt.__version__ == importlib.metadata.version("trajfmt")
    cited = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == [trajfmt.__version__]


def test_version_is_a_plain_assignment() -> None:
    """A build reads it without importing the package, whose dependencies are not there."""
    docstring, assignment = ast.parse((ROOT / "trajfmt" / "version.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(assignment, ast.Assign)
    assert ast.literal_eval(assignment.value) == trajfmt.__version__


def test_source_distribution_holds_what_git_tracks() -> None:
    """A new file or folder at the top is named in MANIFEST.in; what lies below a folder comes with it."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "-C", str(ROOT), "ls-tree", "--name-only", "HEAD"]
    tracked = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    named = {
        word
        for line in (ROOT / "MANIFEST.in").read_text().splitlines()
        if line.startswith(("include ", "graft "))
        for word in line.split()[1:]
    }
    assert not set(tracked) - named


def test_published_readme_and_project_name_the_repository(tmp_path: Path) -> None:
    """For a release, README.md has no relative link left, and the metadata have the addresses; once."""
    for name in ("README.md", "pyproject.toml", ".ci/published.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    address = "https://host.example/owner/trajfmt"
    command = [sys.executable, str(tmp_path / ".ci" / "published.py"), address, "v1.2.3"]
    subprocess.run(command, check=True)
    targets = re.findall(r"\]\(([^)]+)\)", (tmp_path / "README.md").read_text())
    assert f"{address}/blob/v1.2.3/docs/glossary.md#distillation" in targets
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    urls = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["urls"]
    assert urls["Repository"] == address
    assert all(url.startswith(address) for url in urls.values())
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "addresses already" in again.stderr


def test_torch_is_an_extra_with_the_fixed_unpickler(project: dict[str, Any]) -> None:
    """trajfmt itself does not need it; where it is installed it is 2.10 or newer."""
    assert not any(name.startswith("torch") for name in project["project"]["dependencies"])
    assert project["project"]["optional-dependencies"]["torch"] == ["torch>=2.10"]


def test_commands_point_into_the_mapped_package(project: dict[str, Any]) -> None:
    """Both commands exist under their own names."""
    assert project["project"]["scripts"] == {"traj": "traj_cli.traj:main", "mct": "traj_cli.mct:main"}


def test_no_test_folder_shadows_a_package() -> None:
    """`tests/trajfmt` would be imported in place of the package."""
    assert not {path.name for path in (ROOT / "tests").iterdir()} & {"trajfmt", "mct", "cli", "traj_cli"}
