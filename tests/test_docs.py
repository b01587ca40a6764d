"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_command_reference_is_current() -> None:
    """docs/commands.md is what the commands' own help says today."""
    command = [sys.executable, str(ROOT / "docs" / "commands.py")]
    page = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / "commands.md").read_text() == page, "run docs/commands.py > docs/commands.md"


PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "benchmarks/RECORDS.md",
    "spec/README.md",
    "spec/v1/spec.md",
    "spec/v1/vectors/README.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_named_files_exist(page: str) -> None:
    """Every relative link of a document leads somewhere."""
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_readme_commands_exist_in_the_makefile() -> None:
    """The two commands of the README are targets of the Makefile."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    wanted = re.findall(r"^make (\w+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert wanted == ["demo", "test"]
    assert set(wanted) <= set(targets)
