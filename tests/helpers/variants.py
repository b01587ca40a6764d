"""Arguments of `trajfmt.create` for every kind of bundle."""

from __future__ import annotations

from typing import Any

VARIANTS: list[dict[str, Any]] = [
    {"encoding": "convex"},
    {"encoding": "convex", "knots": (1, 3), "smooth": True},
    {"encoding": "full"},
    {"encoding": "full", "codec": "zstd"},
    {"encoding": "full", "codec": "archive"},
]
