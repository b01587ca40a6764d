"""A synthetic dataset of several stages, without distilling."""

from dataclasses import replace
from pathlib import Path

from mct.data.datasets import Dataset
from mct.results.stages import Earlier
from mct.results.synthetic import SyntheticDataset
from tests.helpers.made import made


def two_stages(digits: Dataset, rates: tuple[float, float] = (0.1, 0.05), **origin) -> SyntheticDataset:
    """Return 20 images of a first stage and 10 of a second; `origin` are further facts of the second."""
    first = replace(made(digits, ipc=2), learning_rate=rates[0])
    new = replace(made(digits, ipc=1), learning_rate=rates[1])
    found = Earlier(path=Path("first"), sha256="ab" * 32, synthetic=first).with_new(new)
    return replace(found, origin=replace(found.run, **origin))
