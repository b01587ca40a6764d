"""The documents say what the code does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("arguments", "page"),
    [([], "commands.md"), (["traj"], "man/traj.1"), (["mct"], "man/mct.1")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_command_reference_is_current(arguments: list[str], page: str) -> None:
    """The page and the manual pages are what the commands' own help says today."""
    command = [sys.executable, str(ROOT / "docs" / "commands.py"), *arguments]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / page).read_text() == text, "run make reference"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("name", ["traj", "mct"])
def test_manual_pages_are_valid(name: str) -> None:
    """groff has nothing to say about the manual pages."""
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(ROOT / "docs" / "man" / f"{name}.1")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""


def pages() -> list[Path]:
    """Return all documents."""
    folders = ("docs", "docs/decisions", "docs/tutorials", "spec", "spec/v1", "spec/v1/vectors", "benchmarks")
    return [*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).glob("*.md"))]


def test_links_and_named_files_exist() -> None:
    """Every relative link of a document leads somewhere, and so does every path in its text."""
    seen, missing = 0, []
    for page in pages():
        text = page.read_text()
        links = [page.parent / link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
        named = re.findall(r"`((?:benchmarks|cli|docs|mct|spec|tests|trajfmt)/[\w./]+)`", text)
        found = links + [ROOT / name for name in named if page.name != "CHANGELOG.md"]  # that names the past
        seen += len(found)
        missing += [f"{page.relative_to(ROOT)}: {path}" for path in found if not path.exists()]
    assert seen > 50
    assert missing == []


def test_every_decision_is_listed() -> None:
    """The page of decisions has each of them, by its title, in order."""
    folder = ROOT / "docs" / "decisions"
    titles = [(page.read_text().splitlines()[0], page.name) for page in sorted(folder.glob("0*.md"))]
    listed = re.findall(r"^\* \[(.+)\]\((.+)\)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert [(f"# {title}", name) for title, name in listed] == titles


def test_readme_commands_exist_in_the_makefile() -> None:
    """The two commands of the README are targets of the Makefile."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    wanted = re.findall(r"^make (\w+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert wanted == ["demo", "test"]
    assert set(wanted) <= set(targets)
