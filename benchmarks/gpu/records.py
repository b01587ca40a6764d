"""The table of a campaign: RECORDS-gpu.md, one section for each part, kept where a part was not run again."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

from context import LINES, Context

NAME = "RECORDS-gpu.md"
_HEAD = """# Records of the GPU campaign

What `python benchmarks/gpu/campaign.py` printed, part by part; a part that is run again replaces its section.
"""

Facts = dict[str, dict[str, Any]]


def read(out: Path) -> dict[int, Facts]:
    """Return the facts of every row of every part, the later ones of a row added to the earlier ones."""
    found: dict[int, Facts] = defaultdict(lambda: defaultdict(dict))
    for line in (out / LINES).read_text().splitlines():
        facts = json.loads(line)
        found[facts.pop("part")][facts.pop("row")] |= facts
    return found


def section(
    number: int, title: str, part: ModuleType, context: Context, facts: dict[int, Facts], end: str
) -> str:
    """Return the section of a part, with every row, and with the reason where a result is missing.

    Args:
        number: Number of the part.
        title: Title of the part.
        part: Module of the part.
        context: Settings of the campaign.
        facts: Facts of all parts, since a part may be compared with an earlier one.
        end: How the part ended.
    """
    own = facts.get(number, {})
    everything = {row: value for rows in facts.values() for row, value in rows.items()}
    labels = dict(part.rows(context))
    labels |= {row: row for row in own if row not in labels}
    lines = [f"## Part {number}: {title}", "", f"{end}.", "", "| | |", "| --- | --- |"]
    for row, label in labels.items():
        text = part.show(row, own[row], everything) if row in own else "no result before the part ended"
        lines.append(f"| {label} | {text.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def merged(before: str, sections: dict[int, str]) -> str:
    """Return the records with new sections in place of those of the same parts.

    >>> old = merged("", {1: "## Part 1: a\\n\\nx\\n", 3: "## Part 3: c\\n\\ny\\n"})
    >>> new = merged(old, {2: "## Part 2: b\\n\\nz\\n", 3: "## Part 3: c\\n\\nw\\n"})
    >>> [line for line in new.splitlines() if line.startswith("##") or len(line) == 1]
    ['## Part 1: a', 'x', '## Part 2: b', 'z', '## Part 3: c', 'w']
    """
    pieces = re.split(r"(?m)^(?=## Part \d+: )", before)
    kept = {}
    for piece in pieces:
        if match := re.match(r"## Part (\d+): ", piece):
            kept[int(match[1])] = piece.strip() + "\n"
    kept |= {number: text.strip() + "\n" for number, text in sections.items()}
    return "\n".join([_HEAD, *(kept[number] for number in sorted(kept))])
