"""A synthetic dataset of real digits."""

from mct.data.datasets import Dataset
from mct.initial.start import start
from mct.models import networks
from mct.results import synthetic
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig


def origin_of(dataset: Dataset, ipc: int = 2) -> synthetic.Origin:
    """Return an origin on `dataset`."""
    return synthetic.Origin(
        dataset=dataset.name,
        class_names=dataset.class_names,
        preprocessing=dataset.transform.record,
        model=networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10),
        config=DistillConfig(ipc=ipc, max_start=3.5),
        artifact_sha256="ab" * 32,
        outer_step=7,
    )


def made(dataset: Dataset, ipc: int = 2) -> synthetic.SyntheticDataset:
    """Return a synthetic dataset from real images."""
    return start(dataset, origin_of(dataset, ipc), generator=generator(3))
