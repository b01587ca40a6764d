"""The commands that are tried, and small inputs for them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

SHAPES = ((12, 8), (12,), (4, 12), (4,))


@dataclass(frozen=True)
class Command:
    """A command that reads `needs` and makes `makes`, all below one folder."""

    name: str
    words: tuple[str, ...]
    """Words of the command line; a word that begins with `/` is a path below the folder."""

    needs: tuple[str, ...]
    makes: str = ""
    """What it makes: a name; empty if it only reads."""

    over: bool = False
    """Whether `makes` is there before, and is one of `needs`."""

    grows: bool = False
    """Whether `makes` grows file by file, so that a part of it may be there after a failure."""

    warm: bool = True
    """Whether the command may run in the process that is forked later."""

    @property
    def torch(self) -> bool:
        """Whether it needs torch."""
        return self.name in ("export", "save")

    def line(self, folder: Path) -> list[str]:
        """Return the command line for a folder."""
        return [f"{folder}{word}" if word.startswith("/") else word for word in self.words]

    def prepare(self, material: Path, folder: Path) -> None:
        """Put what the command needs into a folder, with the same times."""
        for name in self.needs:
            source = material / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)


COMMANDS = (
    Command("convert .mct", ("convert", "/src", "/o.mct", "--knots", "2", "--gram"), ("src",), "o.mct"),
    Command("convert .mtt", ("convert", "/src", "/o.mtt"), ("src",), "o.mtt"),
    Command("convert zstd", ("convert", "/src", "/o.mtt", "--codec", "zstd"), ("src",), "o.mtt"),
    Command("append", ("convert", "/src", "/b.mct", "--append"), ("src", "b.mct"), "b.mct", over=True),
    Command("merge", ("merge", "/b.mct", "/c.mct", "/o.mct"), ("b.mct", "c.mct"), "o.mct"),
    Command("export", ("export", "/b.mct", "/e", "--to", "mtt"), ("b.mct",), "e"),
    Command("export checkpoints", ("export", "/b.mct", "/e", "--to", "checkpoints"), ("b.mct",), "e"),
    Command(
        "extract",
        ("extract", "/b.mct", "--trajectory", "0", "--t", "1.5", "-o", "/x.safetensors"),
        ("b.mct",),
        "x.safetensors",
    ),
    Command("inspect", ("inspect", "/b.mct", "/src"), ("src", "b.mct")),
    Command("validate", ("validate", "/b.mct"), ("b.mct",)),
    Command("save", ("save", "/run"), (), "run", grows=True),
)


def make_material(folder: Path) -> None:
    """Write replay buffers, a bundle of them, and one of others, to which they can be appended."""
    folder.mkdir()
    for name, files, seed in (("src", 2, 0), ("first", 1, 9)):
        (folder / name).mkdir()
        for number in range(files):
            path = folder / name / f"replay_buffer_{number}.pt"
            torch.save([_walk(seed + 2 * number + k) for k in range(2)], path)
            os.utime(path, (1, 1))
    convert(folder / "first", folder / "b.mct", ConvertOptions())
    convert(folder / "src", folder / "c.mct", ConvertOptions())
    shutil.rmtree(folder / "first")


def _walk(seed: int) -> list[list[torch.Tensor]]:
    generator = np.random.default_rng(seed)
    steps = [[generator.standard_normal(shape).astype(np.float32) for shape in SHAPES] for _ in range(5)]
    return [
        [torch.from_numpy(np.sum([step[k] for step in steps[: t + 1]], axis=0)) for k in range(len(SHAPES))]
        for t in range(len(steps))
    ]


def contents(path: Path) -> dict[str, bytes] | None:
    """Return the bytes of a file, or of every file in a folder, by name; None if nothing is there."""
    if not os.path.lexists(path):
        return None
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
