"""Compares distilled images, ours or those of another codebase, with random real ones by one protocol."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trajfmt
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.evaluation.protocol import evaluate, evaluate_baseline
from mct.events import Accuracy, ArchitectureTested, NetworkTrained
from mct.inner.steps.step import Notes
from mct.models import networks
from mct.results.origin import Origin
from mct.results.synthetic import SyntheticDataset
from mct.runtime.devices import device_of
from mct.runtime.ranks import Alone, Ranks
from mct.runtime.seeds import generator
from mct.sets import settle
from mct.sets.settle import UserFacts
from mct.sets.table import open_set
from mct.settings import defaults
from mct.settings.config import Engine, EvaluateConfig

BASELINE_RATES = (0.003, 0.01, 0.03, 0.1)
"""Step sizes that the baseline may choose from, beside the learned one."""

CROSS = ("ConvNet", "AlexNet", "VGG11", "ResNet18")
"""The architectures of MTT's table of cross-architecture generalisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A distilled dataset, the real one, and how to compare the two."""

    synthetic: SyntheticDataset
    dataset: Dataset
    model: trajfmt.Model
    config: EvaluateConfig
    given_rate: bool = False
    """The step size is the user's, not that of the files."""

    engine: Engine = "auto"
    notes: Notes | None = None
    ranks: Ranks = field(default_factory=Alone)

    @classmethod
    def prepare(
        cls,
        result: Path,
        *,
        layout: str | None = None,
        experiment: int | None = None,
        trust_pickle: bool = False,
        dataset: str | None = None,
        preprocessing: str | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        model: str | None = None,
        lr: float | None = None,
        root: Path | None = None,
        device: str = "cpu",
        engine: Engine = "auto",
        notes: Notes | None = None,
        ranks: Ranks | None = None,
        **settings: Any,
    ) -> "Comparison":
        """Load distilled images and the dataset that they stand for.

        Args:
            result: A file that distillation wrote, or the folder of a run, of which the best images
                are taken where evaluations chose some, else the last; or files of another codebase.
            layout: Name of the file layout in `mct.sets.LAYOUTS`; None: it is recognised.
            experiment: Number from 0, for files that hold several.
            trust_pickle: Run what a pickle asks for.
            dataset: Name or path of the dataset, if the files name none.
            preprocessing: `none`, `normalize` or `zca`, if the files do not state it.
            mean: Mean of a normalisation, one value a channel, if it is not the usual one.
            std: Standard deviation of a normalisation, likewise.
            model: Like ConvNetD4W64: the network to train, if the files name none or it is to be another.
            lr: Step size, if the files state none or it is to be another.
            root: Folder of the dataset's files, if it needs one.
            device: Where to train.
            engine: How gradients are computed.
            notes: Called with one line when something works, but not in the way that was asked for.
            ranks: The processes that share the networks; None: this one alone.
            settings: Fields of `EvaluateConfig`; None leaves the default for the dataset, or the augmentation
                that the run used.

        Raises:
            ConfigError: A fact is not known.
            MctError: The files are not what they should be, or do not fit the dataset.
        """
        here = device_of(device)
        user = UserFacts(dataset=dataset, preprocessing=preprocessing, mean=mean, std=std, model=model, lr=lr)
        opened = open_set(
            result, layout=layout, experiment=experiment, trust_pickle=trust_pickle, notes=notes
        )
        settled = settle(opened, user, root=root, notes=notes)
        origin = settled.synthetic.origin
        if isinstance(origin, Origin) and origin.evaluation is not None and settings.get("augment") is None:
            settings["augment"] = origin.evaluation.augment
        config = defaults.evaluate_config(settled.dataset.name, **settings)
        augmentation(config.augment)
        return cls(
            synthetic=settled.synthetic.to(here),
            dataset=settled.dataset.to(here),
            model=settled.model,
            config=config,
            given_rate=lr is not None,
            engine=engine,
            notes=notes,
            ranks=ranks or Alone(),
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """The step sizes that the baseline may choose from."""
        return (self.synthetic.learning_rate, *BASELINE_RATES)

    def distilled(self) -> Generator[NetworkTrained, None, Accuracy]:
        """Train networks on the distilled images."""
        return self._evaluate(self.model)

    def baseline(self) -> Generator[NetworkTrained, None, Accuracy]:
        """Train networks on as many random real images."""
        return evaluate_baseline(
            self.synthetic.counts,
            self.dataset,
            self.model,
            self.config,
            rates=self.rates,
            engine=self.engine,
            notes=self.notes,
            ranks=self.ranks,
        )

    def cross(self, names: Sequence[str] = CROSS) -> Iterator[NetworkTrained | ArchitectureTested]:
        """Train networks of other architectures on the distilled images; yield each, and each mean.

        Args:
            names: As `networks.parse` takes them.

        Raises:
            ConfigError: A name is unknown, or no network for such images; before any is trained.
        """
        models = {name: _parse(name, self.dataset) for name in names}
        for model in models.values():
            networks.build(model, generator=generator(self.config.seed))

        def events() -> Iterator[NetworkTrained | ArchitectureTested]:
            for name, model in models.items():
                accuracy = yield from self._evaluate(model)
                yield ArchitectureTested(model=name, accuracy=accuracy)

        return events()

    def _evaluate(self, model: trajfmt.Model) -> Generator[NetworkTrained, None, Accuracy]:
        now = self.synthetic
        return evaluate(
            now.images,
            now.targets,
            now.learning_rate,
            self.dataset,
            model,
            self.config,
            engine=self.engine,
            notes=self.notes,
            ranks=self.ranks,
        )


def _parse(name: str, dataset: Dataset) -> trajfmt.Model:
    return networks.parse(
        name, channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )
