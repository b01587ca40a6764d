"""Write the address of the repository into what a release shows elsewhere, in a checkout made for it.

    python .ci/published.py https://host/owner/trajfmt v1.2.3

A package index shows README.md without the repository around it, so links to files become links to the files
of the tag. `pyproject.toml` gets the addresses that an index lists beside a package. The repository itself
does not know where it is published.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELATIVE = re.compile(r"(?<=\]\()(?!#|[a-z]+:)([^)#]+)")
"""The file that a Markdown link names, unless it is an address or a heading of the same page."""


def readme(text: str, address: str, tag: str) -> str:
    """Return README.md with absolute links; those to headings of the same page stay."""
    return RELATIVE.sub(lambda found: f"{address}/blob/{tag}/{found[1]}", text)


def project(text: str, address: str, tag: str) -> str:
    """Return pyproject.toml with the addresses of the project."""
    if "[project.urls]" in text:
        raise SystemExit("pyproject.toml has addresses already; run this once, in a fresh checkout")
    lines = [
        "[project.urls]",
        f'Repository = "{address}"',
        f'Documentation = "{address}/blob/{tag}/docs/README.md"',
        f'Specification = "{address}/blob/{tag}/spec/v1/spec.md"',
        f'Changelog = "{address}/blob/{tag}/CHANGELOG.md"',
        f'Issues = "{address}/issues"',
    ]
    return text.replace("[project.scripts]", "\n".join([*lines, "", "[project.scripts]"]), 1)


def main(address: str, tag: str) -> None:
    """Change README.md and pyproject.toml in place."""
    if not re.fullmatch(r"https://[^/\s]+/\S+[^/\s]", address) or not re.fullmatch(r"v\d+\.\d+\.\d+\S*", tag):
        raise SystemExit(
            f"expected an address like https://host/owner/name and a tag like v1.2.3: {address} {tag}"
        )
    for name, change in (("README.md", readme), ("pyproject.toml", project)):
        path = ROOT / name
        path.write_text(change(path.read_text(), address, tag))


if __name__ == "__main__":
    main(*sys.argv[1:])
