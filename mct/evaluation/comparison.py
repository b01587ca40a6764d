"""Comparing distilled images of mct or of another codebase with random real images, using one protocol."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

import trajfmt
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.errors import ConfigError, MismatchError
from mct.evaluation.protocol import evaluate, evaluate_baseline
from mct.evaluation.protocols.table import PROTOCOLS
from mct.events import Accuracy, ArchitectureTested, NetworkTrained
from mct.inner.steps.step import Notes
from mct.models import networks
from mct.results.origin import Origin, SourceFile
from mct.results.synthetic import SyntheticDataset
from mct.runtime.devices import device_of
from mct.runtime.ranks import Alone, Ranks
from mct.runtime.seeds import generator
from mct.sets import settle
from mct.sets.settle import UserFacts
from mct.sets.table import open_set
from mct.settings import defaults
from mct.settings.config import Engine, EvaluateConfig
from trajfmt.errors import counted

BASELINE_RATES = (0.003, 0.01, 0.03, 0.1)
"""Learning rates that the baseline tries, in addition to that of the synthetic dataset."""

CROSS = ("ConvNet", "AlexNet", "VGG11", "ResNet18")
"""The architectures in MTT's table of cross-architecture generalisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A synthetic dataset, its real dataset, and the settings of their comparison."""

    synthetic: SyntheticDataset
    """The synthetic dataset, on the device of `dataset`."""

    dataset: Dataset
    """The real dataset."""

    model: trajfmt.Model
    """The network to train."""

    config: EvaluateConfig
    """The settings of the evaluations."""

    files: tuple[SourceFile, ...] = ()
    """The files from which the synthetic dataset was read."""

    given_rate: bool = False
    """Whether the learning rate was given by the user instead of the files."""

    engine: Engine = "auto"
    """How updates of the networks are computed."""

    notes: Notes | None = None
    """Called with each note for the user."""

    ranks: Ranks = field(default_factory=Alone)
    """The processes that share the networks."""

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
        """Load distilled images and their real dataset.

        Args:
            result: A file of mct; the folder of a run, from which the best images are loaded if there are
                any, else the last ones; or files of another codebase.
            layout: Name of the file layout in `mct.sets.LAYOUTS`; None to detect it.
            experiment: Number of the experiment, from 0, if the file contains several.
            trust_pickle: Whether to load pickles that can execute any code.
            dataset: Name of the real dataset if the files do not state it, or its path.
            preprocessing: `none`, `normalize` or `zca`, if the files do not state it.
            mean: Mean of each channel for `normalize`, if it differs from that of the layout.
            std: Standard deviation of each channel, given together with `mean`.
            model: Name of the network to train, such as ConvNetD4W64; None for the one that the files state.
            lr: Learning rate; None for the one that the files state.
            root: Folder of the files of datasets; None for the default.
            device: Device on which networks are trained.
            engine: How updates of the networks are computed.
            notes: Called with each note for the user.
            ranks: The processes that share the networks; None for this process alone.
            **settings: Fields of `EvaluateConfig`. A field that is None or not given has its default for the
                dataset, except that `augment`, `batch_size` and `protocol` are those of the run.

        Raises:
            ConfigError: If a fact is unknown, or a setting is out of range.
            MctError: If the files are invalid, or do not belong to the dataset.
        """
        here = device_of(device)
        user = UserFacts(dataset=dataset, preprocessing=preprocessing, mean=mean, std=std, model=model, lr=lr)
        opened = open_set(
            result, layout=layout, experiment=experiment, trust_pickle=trust_pickle, notes=notes
        )
        settled = settle(opened, user, root=root, notes=notes)
        origin = settled.synthetic.origin
        if isinstance(origin, Origin):
            _check_labels(origin, settled.dataset, notes)
            own = origin.model_source_sha256
            if (
                own is not None
                and settled.model == origin.model
                and own != networks.source_sha256(origin.model)
            ):
                raise MismatchError(
                    f"the code of {origin.model.factory} is not that with which the images were distilled: "
                    "the file of its module has another hash; restore it, or name another --model"
                )
        if isinstance(origin, Origin) and origin.evaluation is not None:
            for name in ("augment", "batch_size", "protocol"):
                if settings.get(name) is None:
                    settings[name] = getattr(origin.evaluation, name)
        config = defaults.evaluate_config(settled.dataset.name, **settings)
        if lr is not None and config.protocol == "sequence" and settled.synthetic.stages:
            raise ConfigError(
                "`lr` would replace the learning rate of the last stage alone; omit it, or train on the "
                "images of all stages together: --protocol mtt"
            )
        if lr is not None and PROTOCOLS[config.protocol].rate is not None and opened.found.learning_rate:
            raise ConfigError(
                f"`lr` has no effect with the protocol {config.protocol}, whose learning rates are its own; "
                "omit it, or give another --protocol"
            )
        augmentation(config.augment)
        return cls(
            synthetic=settled.synthetic.to(here),
            dataset=settled.dataset.to(here),
            model=settled.model,
            config=config,
            files=opened.found.files,
            given_rate=lr is not None,
            engine=engine,
            notes=notes,
            ranks=ranks or Alone(),
        )

    @property
    def own_rate(self) -> float | None:
        """The learning rate that every training begins with, if the protocol has one of its own."""
        return PROTOCOLS[self.config.protocol].rate

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that the baseline tries."""
        own = self.own_rate
        return (self.synthetic.learning_rate, *BASELINE_RATES) if own is None else (own,)

    def check_baseline(self) -> None:
        """Require as many real images of every class as the set has, which may have begun as noise.

        Raises:
            ConfigError: A class has fewer.
        """
        there = self.dataset.train_labels.bincount(minlength=self.dataset.classes).tolist()
        for name, most, count in zip(self.dataset.class_names, there, self.synthetic.counts, strict=True):
            if count > most:
                raise ConfigError(
                    f"{counted(count, 'image')} of class {name!r} cannot be compared with random real ones, "
                    f"as there are only {most}; evaluate without the comparison: --no-baseline"
                )

    def distilled(self) -> Generator[NetworkTrained, None, Accuracy]:
        """Train and test networks on the synthetic images, see `mct.evaluation.protocol.evaluate`."""
        return self._evaluate(self.model)

    def baseline(
        self, label: Callable[[Tensor], Tensor] | None = None
    ) -> Generator[NetworkTrained, None, Accuracy]:
        """Train and test networks on random real images, with the same number of images in each class.

        See `mct.evaluation.protocol.evaluate_baseline`.

        Args:
            label: From images `(N, C, H, W)` to their labels, such as the probabilities `(N, K)` of
                `mct.evaluation.reference.Reference`; None for their classes.
        """
        return evaluate_baseline(
            self.synthetic.counts,
            self.dataset,
            self.model,
            self.config,
            rates=self.rates,
            label=label,
            engine=self.engine,
            notes=self.notes,
            ranks=self.ranks,
        )

    def crossed(self) -> tuple[str, ...]:
        """Return the architectures of MTT's table that take images of this size, and note those that do not.

        Raises:
            ConfigError: If none of another family than the evaluated network's does, as nothing is compared
                then.
        """
        fitting, left = [], []
        size = self.dataset.image_size
        for name in CROSS:
            model = _parse(name, self.dataset)
            accepted = networks.sizes(model)
            if accepted is None or accepted[0] <= size <= accepted[1]:
                fitting.append((name, model.family))
            else:
                left.append(f"{name} ({accepted[0]} to {accepted[1]} pixels)")
        if not any(family != self.model.family for _, family in fitting):
            raise ConfigError(
                f"there is nothing to compare across architectures: {', '.join(left)} do not take images of "
                f"{size}x{size} pixels; evaluate another network by its name instead, such as --model "
                "ConvNetD1W64, or your own with --model package.module:factory"
            )
        if left and self.notes is not None:
            self.notes(f"left out, as they do not take images of {size}x{size} pixels: {', '.join(left)}")
        return tuple(name for name, _ in fitting)

    def cross(self, names: Sequence[str] = CROSS) -> Iterator[NetworkTrained | ArchitectureTested]:
        """Train and test networks of several architectures on the synthetic images.

        Args:
            names: Names of the architectures, in the form of `mct.models.networks.parse`.

        Returns:
            An iterator that yields each network, and after those of one architecture their accuracy.

        Raises:
            ConfigError: If a name is unknown, or the architecture does not support images of this size. The
                error is raised before any network is trained.
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
            stages=now.stages,
            learned=now.learned_images,
            engine=self.engine,
            notes=self.notes,
            ranks=self.ranks,
        )


def _check_labels(origin: Origin, dataset: Dataset, notes: Notes | None) -> None:
    """Require the labels of the distillation, and note other test images. Loading has compared the images.

    Raises:
        MismatchError: The training images have other labels.
    """
    if origin.labels_sha256 not in (None, dataset.labels_sha256):
        raise MismatchError(
            f"the labels of the dataset {dataset.name!r} are not those with which the images were distilled; "
            "give that dataset: --dataset"
        )
    if origin.test_sha256 not in (None, dataset.test_sha256) and notes is not None:
        notes("the test images or their labels are not those of the dataset as it was distilled")


def _parse(name: str, dataset: Dataset) -> trajfmt.Model:
    return networks.parse(
        name, channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )
