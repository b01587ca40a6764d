"""The bundles that are mutated: valid vectors, and bundles that this library wrote, one of every kind."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import trajfmt
from benchmarks.trust.mutated.verdicts import values_of
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

__all__ = ["Subject", "contents", "make_bundles", "walks"]

VECTORS = Path(__file__).resolve().parents[3] / "spec" / "v1" / "vectors" / "valid"


@dataclass(frozen=True)
class Subject:
    """What is mutated: a bundle, or a source."""

    name: str
    tree: dict[str, bytes]
    known: dict[tuple[Any, ...], Any]
    """All its values."""

    manifest: Any = None
    """The manifest of a bundle, parsed; None for sources."""

    @classmethod
    def of_bundle(cls, folder: Path) -> Subject:
        """Return the bundle in a folder."""
        tree = contents(folder)
        tree.pop("expected.json", None)
        with trajfmt.open(folder, backend="pread") as bundle:
            known = values_of(bundle)
        return cls(folder.name, tree, known, json.loads(tree["manifest.json"]))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def make_bundles(folder: Path) -> list[Subject]:
    """Return all bundles. `folder` is for those that are written first."""
    subjects = [Subject.of_bundle(path) for path in sorted(VECTORS.glob("*.m?t"))]
    folder.mkdir()
    for name, settings in _WRITTEN.items():
        _write(folder / name, **settings)
        subjects.append(Subject.of_bundle(folder / name))
    shutil.rmtree(folder)
    return subjects


_WRITTEN: dict[str, dict[str, Any]] = {
    "written-convex.mct": {"gram": True},
    "written-knots.mct": {"knots": (2, 3), "smooth": True},
    "written-shards.mct": {"knots": (2,), "shard_bytes": 40},
    "written-cast.mct": {"dtype": "F16"},
    "written-bf16.mct": {"dtype": "BF16", "knots": (3,)},
    "written-f64.mct": {"source": "F64", "gram": True},
    "written-layers.mct": {"layers": "all"},
    "written-none.mtt": {"codec": "none"},
    "written-zstd.mtt": {"codec": "zstd"},
    "written-archive.mtt": {"codec": "archive"},
    "written-archive-bf16.mtt": {"codec": "archive", "dtype": "BF16"},
    "written-appended.mct": {"again": True},
    "written-appended.mtt": {"again": True, "codec": "zstd"},
}


def _write(path: Path, *, source: str = "F32", again: bool = False, **options: Any) -> None:
    """Convert small walks to a bundle, and append others if they come in two parts."""
    for part in range(1 + again):
        buffer = path.with_name(f"{path.name}.{part}") / "replay_buffer_0.pt"
        buffer.parent.mkdir()
        torch.save(walks(part, torch.float64 if source == "F64" else torch.float32), buffer)
        convert(buffer, path, ConvertOptions(append=bool(part), **options))


def walks(seed: int, dtype: torch.dtype = torch.float32, count: int = 2) -> list[list[list[torch.Tensor]]]:
    """Return trajectories of five timesteps of a network of nine elements."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        steps = torch.cumsum(torch.randn((5, 9), generator=generator, dtype=dtype), 0)
        parts = [[step[:6].view(2, 3), step[6:8], step[8:]] for step in steps]
        found.append([[part.clone() for part in step] for step in parts])
    return found
