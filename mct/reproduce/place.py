"""Where jobs are done, and where they find what other jobs wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trajfmt
from mct.data.datasets import Dataset
from mct.reproduce.job import Folders, Job
from mct.runtime.devices import device_of
from mct.trajectories import provenance

RUN: Final = "run"
"""Name of the folder of a distillation in that of its job."""

FULL: Final = "experts.mtt"
"""Name of the bundle of all timesteps."""

CONVEX: Final = "experts.mct"
"""Name of the bundle of convexified trajectories."""

IMAGES: Final = "images.npz"
"""Name of the file of a smaller data set."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where jobs are done."""

    folders: Folders
    """The folders of all jobs."""

    device: str = "cpu"
    """Where to compute."""

    data: Path | None = None
    """Folder of the files of data sets."""


def bundle_of(job: Job, folders: Folders) -> Path:
    """Return the bundle that a job of experts or a conversion writes."""
    return folders.of(job) / (FULL if job.kind == "experts" else CONVEX)


def images_of(job: Job, folders: Folders) -> str:
    """Return the name or the path of the data set that a job uses."""
    for needed in job.needs:
        if needed.kind == "images":
            return str(folders.of(needed) / IMAGES)
    return str(job.settings.get("dataset") or images_of(job.needs[0], folders))


def real(bundle: trajfmt.Bundle, source: str, place: Place) -> tuple[Dataset, trajfmt.Model]:
    """Return the images and the network of the experts of a bundle."""
    record = bundle.manifest.provenance
    found = provenance.dataset_of(record, name=source, preprocessing=None, root=place.data)
    return found.to(device_of(place.device)), provenance.model_of(record, found, name=None)
