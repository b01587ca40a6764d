"""Experts that start from networks which were trained on distilled images, instead of at random (SeqMatch).

The experts of a later stage of SeqMatch go on from what a user of the earlier stages gets: each starts from a
network of its own, trained on the images of these stages, one after the other, as an evaluation does.

References:
    Du et al., "Sequential Subset Matching for Dataset Distillation", NeurIPS 2023; its `buffer.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

import trajfmt
from mct.data.datasets import Dataset
from mct.errors import MismatchError
from mct.evaluation.protocol import train_network
from mct.results import files
from mct.results.stages import Earlier
from mct.runtime.seeds import generator
from mct.settings import defaults
from mct.settings.config import EvaluateConfig
from trajfmt.schema import models

Start = Callable[[int], nn.Module]
"""From the number of an expert to the network that it starts from."""

RECIPE = "start_from_sha256"
"""Name of the hash of the distilled images in the recipe that a bundle records."""


@dataclass(frozen=True, slots=True)
class Starts:
    """The distilled images that experts start from, and how networks are trained on them."""

    earlier: Earlier
    """The images."""

    evaluation: EvaluateConfig
    """The protocol: that of the run's evaluations if they are recorded, on one stage after the other."""

    @classmethod
    def prepare(cls, path: Path, dataset: Dataset, model: trajfmt.Model) -> "Starts":
        """Read distilled images, and check that experts of a dataset can start from networks trained on them.

        Args:
            path: The folder of a run, or its file.
            dataset: The dataset of the experts.
            model: Their network.

        Raises:
            MismatchError: The images are of another dataset, or were distilled for another network.
            MctError: They cannot be read.
        """
        found = files.earlier(path)
        origin = found.synthetic.run
        found.check_data(dataset.class_names, dataset.transform.record, dataset.labels_sha256)
        then, now = models.model_name(origin.model), models.model_name(model)
        if then != now:
            raise MismatchError(
                f"{found.path}: the images were distilled for {then}, but the experts are {now}; give "
                f"--model {then}"
            )
        usual = origin.evaluation or defaults.evaluate_config(origin.dataset)
        return cls(found, replace(usual, protocol="sequence"))

    def facts(self) -> dict[str, str | int]:
        """Return what the recipe of a bundle records."""
        return {RECIPE: self.earlier.sha256, "start_from_epochs": self.evaluation.epochs}

    def network(
        self, number: int, *, model: trajfmt.Model, seed: int, device: str | torch.device
    ) -> nn.Module:
        """Return the network that an expert starts from, trained.

        Args:
            number: Number of the expert, on which the network depends.
            model: The network.
            seed: Seed of the experts.
            device: Device on which it is trained.
        """
        found = self.earlier.synthetic.to(device)
        random = generator(seed, "expert", number, "start")
        return train_network(
            found.images,
            found.targets,
            model,
            self.evaluation,
            found.learning_rate,
            random,
            stages=found.stages,
        )
