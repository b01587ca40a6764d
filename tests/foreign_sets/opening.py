"""Distilled images in every layout, opened and converted with what is told about them."""

from __future__ import annotations

from pathlib import Path

from mct import sets
from mct.sets.settle import UserFacts
from tests.foreign_sets import writers  # the generators need torch

IMAGES = writers.images_of(20)
HARD = writers.classes_of(10, 2)
LOGITS = writers.logits_of(20, 10)
SOFT = LOGITS.softmax(1)
USER = UserFacts(dataset="digits", preprocessing="normalize", model="ConvNetD2W4", lr=0.05)


def opened(path: Path, **how) -> tuple[sets.Opened, list[str]]:
    """Return what is read, and the lines that are told."""
    notes: list[str] = []
    return sets.open_set(path, notes=notes.append, **how), notes


def convert(source: Path, dest: Path, **how) -> list[str]:
    """Convert, and return the lines that are told."""
    notes: list[str] = []
    sets.convert_images(source, dest, notes=notes.append, **how)
    return notes


def write_all(folder: Path) -> dict[str, tuple[Path, object, str, float | None]]:
    """Return of every layout that can be used: path, labels, what they are, step size."""
    d = writers
    return {
        "mtt": (d.mtt(folder / "mtt", IMAGES, HARD), HARD, "classes", None),
        "ftd-ema": (d.ftd(folder / "ema", IMAGES, HARD), HARD, "classes", None),
        "mct-authors": (d.mct_authors(folder / "ipc", IMAGES, HARD, 2), HARD, "classes", None),
        "datm": (d.datm(folder / "datm", IMAGES, LOGITS, 0.02), LOGITS, "logits", 0.02),
        "seqmatch": (d.seqmatch(folder / "sq", [(IMAGES, HARD, 0.03)]) / "S_0", HARD, "classes", 0.03),
        "mkdt": (d.mkdt(folder / "mkdt", IMAGES, LOGITS, 0.04), LOGITS, "representations", 0.04),
        "mtt-parts": (d.parts(folder / "parts", IMAGES, HARD), HARD, "classes", None),
        "ddranking": (d.ddranking(folder / "dd", IMAGES, LOGITS, 0.05), LOGITS, "logits", 0.05),
        "condensation": (
            d.condensation(folder, "res_DM_CIFAR10_ConvNet_2ipc.pt", [(IMAGES, HARD)]), HARD, "classes", None
        ),
    }  # fmt: skip
