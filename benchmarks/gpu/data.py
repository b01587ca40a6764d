"""CIFAR-10 for the campaign: the official files, or an archive of JPEG copies, which lose detail."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from context import Context

FOLDER = "cifar-10-batches-bin"


def dataset(context: Context) -> tuple[str, Path | None] | None:
    """Return the name of the data set and the folder of its files; None where it was not given."""
    if not context.full:
        return "digits", None
    if context.cifar10 is None:
        return None
    if context.cifar10.is_dir():
        return "CIFAR10", context.cifar10
    folder = context.work / "data"
    return ("CIFAR10", folder) if (folder / FOLDER / "batches.meta.txt").exists() else None


def unpack(archive: Path, folder: Path) -> None:
    """Write the official binary layout of an archive of `train|test/<class>/<number>.jpg`, shuffled."""
    import numpy as np
    from PIL import Image

    pictures: dict[str, list[tuple[str, str, np.ndarray]]] = {"train": [], "test": []}
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            parts = member.name.removeprefix("./").split("/")
            file = tar.extractfile(member) if len(parts) == 3 else None
            if file is not None:
                image = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
                pictures[parts[0]].append((member.name, parts[1], image.transpose(2, 0, 1).ravel()))
    names = sorted({label for rows in pictures.values() for _, label, _ in rows})
    target = folder / FOLDER
    target.mkdir(parents=True)
    for split, rows in pictures.items():
        rows.sort(key=lambda row: row[0])
        order = np.random.default_rng(0).permutation(len(rows))
        records = np.stack(
            [np.concatenate([[names.index(rows[i][1])], rows[i][2]]).astype(np.uint8) for i in order]
        )
        if split == "test":
            records.tofile(target / "test_batch.bin")
        else:
            for number, batch in enumerate(np.array_split(records, 5), 1):
                batch.tofile(target / f"data_batch_{number}.bin")
    (target / "batches.meta.txt").write_text("\n".join(names) + "\n")
