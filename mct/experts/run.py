"""A run that trains experts and writes their trajectories to a bundle or an MTT buffer.

An interrupted run continues from its finished experts; the identity of a `Job` decides whether two runs are
the same. The module `train` trains experts, and `distributed` divides them among processes.
"""

import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

import trajfmt
from mct.data.augment import augmentation
from mct.data.datasets import Dataset, load
from mct.data.preprocessing import hash_images
from mct.errors import ConfigError, ExistsError
from mct.events import ExpertDone, ExpertEpoch, ExpertsFound
from mct.experts import recording
from mct.experts.distributed import train_distributed
from mct.experts.recording import BufferStore, BundleStore, Job
from mct.experts.train import train_experts
from mct.inner.steps.step import Notes
from mct.models import networks
from mct.runtime import tensorfile
from mct.runtime.devices import device_of
from mct.runtime.ranks import Alone, Ranks, together
from mct.runtime.seeds import generator
from mct.settings import defaults
from mct.settings.config import Engine, ExpertConfig
from mct.trajectories.provenance import parse_preprocessing
from trajfmt.schema import models
from trajfmt.torch import layout_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertRun:
    """Everything that a training run needs, checked."""

    dataset: Dataset
    """The real dataset."""

    model: trajfmt.Model
    """The network."""

    config: ExpertConfig
    """Settings of expert training."""

    path: Path
    """A bundle (`.mct` convex, `.mtt` full), or the folder of an MTT buffer."""

    device: torch.device
    """Device on which experts are trained."""

    knots: tuple[int, ...] = ()
    """Timesteps to keep between the endpoints, for a `.mct`."""

    smooth: bool = False
    """Whether to average inserted waypoints with their neighbours, for a `.mct` bundle."""

    engine: Engine = "auto"
    """How updates of the experts are computed."""

    at_once: int = 1
    """Number of experts that are trained at the same time in each process."""

    notes: Notes | None = None
    """Called with one line when something works, but not in the way that was asked for."""

    ranks: Ranks = field(default_factory=Alone)
    """The processes that share the experts."""

    @classmethod
    def prepare(
        cls,
        dataset: str,
        out: Path,
        *,
        model: str | None = None,
        preprocessing: str | None = None,
        root: Path | None = None,
        image_size: int | None = None,
        knots: Sequence[int] = (),
        smooth: bool = False,
        device: str = "cpu",
        engine: Engine = "auto",
        at_once: int = 1,
        notes: Notes | None = None,
        ranks: Ranks | None = None,
        **settings: Any,
    ) -> "ExpertRun":
        """Load a dataset, and check the model, the settings and the destination.

        Args:
            dataset: A known dataset, or the path of a file or folder of images.
            out: A bundle by its suffix, or the root folder of buffers: see `buffer_folder`.
            model: Like ConvNetD3W128; None: the default for the dataset.
            preprocessing: `none`, `normalize` or `zca`; None: `normalize`.
            root: Folder of the dataset's files.
            image_size: Size to which the images of a folder are scaled.
            knots: Timesteps to keep between the endpoints, for a `.mct`.
            smooth: Average knots with their neighbouring timesteps, for a `.mct`.
            device: Where to train.
            engine: How gradients are computed; see `train_experts`.
            at_once: Experts that are trained at once; see `train_experts`.
            notes: Called with one line when something works, but not in the way that was asked for.
            ranks: The processes that share the work, each of which makes this call; None: this one alone.
            settings: Fields of `ExpertConfig`; None leaves the default for the dataset.

        Raises:
            ExistsError: The destination exists.
        """
        if (knots or smooth) and out.suffix != ".mct":
            raise ConfigError(
                "`knots` and `smooth` require a bundle of convexified trajectories, --out NAME.mct"
            )
        if at_once < 1:
            raise ConfigError(f"`at_once` must be >= 1, got {at_once}")
        if recording.is_bundle(out) and out.exists():
            raise ExistsError(f"{out} exists; use another --out, or remove it")
        here = device_of(device)
        real = load(
            dataset,
            preprocessing=parse_preprocessing(preprocessing or "normalize"),
            root=root,
            image_size=image_size,
        )
        name = defaults.MODELS.get(real.name, "ConvNet") if model is None else model
        network = networks.parse(
            name, channels=real.channels, image_size=real.image_size, classes=real.classes
        )
        path = out if recording.is_bundle(out) else buffer_folder(out, real, network)
        config = defaults.expert_config(real.name, **settings)
        augmentation(config.augment)
        timesteps = config.timesteps(len(real.train_labels))
        if knots and max(knots) >= timesteps - 1:
            raise ConfigError(
                f"`knots` must be less than the last timestep, {timesteps - 1}, got {max(knots)}"
            )
        return cls(
            dataset=real,
            model=network,
            config=config,
            path=path,
            device=here,
            knots=tuple(knots),
            smooth=smooth,
            engine=engine,
            at_once=at_once,
            notes=notes,
            ranks=ranks or Alone(),
        )

    def events(self) -> Generator[ExpertEpoch | ExpertDone | ExpertsFound, None, None]:
        """Train all experts. A bundle appears when the last is done, files of a buffer as they fill.

        However the loop ends, finished experts are stored, and the same run continues from them. If several
        processes share the work, only process 0 writes. Each yields the epochs of its own experts.
        """
        with tensorfile.explained(self.path, "finished experts are kept; the same command continues"):
            job = self._job()
            with together(self.ranks):
                store = self._store(job) if self.ranks.rank == 0 else None
            try:
                if store is not None and store.finished:
                    yield ExpertsFound(count=min(store.finished, self.config.experts))
                yield from train_distributed(
                    self.config,
                    store,
                    train=partial(
                        train_experts,
                        self.dataset.to(self.device),
                        self.model,
                        device=self.device,
                        engine=self.engine,
                        at_once=self.at_once,
                        notes=self.notes,
                    ),
                    recorder=lambda: recording.recorder_for(self.path, job),
                    ranks=self.ranks,
                    at_once=self.at_once,
                )
                if store is not None:
                    store.publish()
            except BaseException:
                if store is not None:
                    store.release()
                raise

    def _store(self, job: Job) -> BundleStore | BufferStore:
        """Open the destination, after checking that there is room for the experts that are missing."""
        store = recording.store(self.path, job)
        try:
            missing = self.config.experts - store.finished
            tensorfile.require_space(self.path.parent, missing * self._expert_bytes(job.layout))
        except BaseException:
            store.release()
            raise
        return store

    def _expert_bytes(self, layout: trajfmt.ParamLayout) -> int:
        """Return the bytes of an expert on disk: endpoints and knots in a `.mct`, else every timestep."""
        every = self.config.timesteps(len(self.dataset.train_labels))
        kept = 2 + len(self.knots) if self.path.suffix == ".mct" else every
        return kept * layout.nbytes

    def _job(self) -> Job:
        recipe = asdict(self.config)
        del recipe["experts"]  # An expert depends on its number alone, so that a set may grow.
        facts = [
            recipe,
            models.model_name(self.model),
            hash_images(self.dataset.train_images),
            hashlib.sha256(self.dataset.train_labels.cpu().numpy().tobytes()).hexdigest(),
            self.knots,
            self.smooth,
        ]
        return Job(
            layout=layout_of(networks.build(self.model, generator=generator(0))),
            provenance=provenance(self.dataset, self.model, self.config),
            identity=hashlib.sha256(json.dumps(facts).encode()).hexdigest().encode(),
            knots=self.knots,
            smooth=self.smooth,
        )


def provenance(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig) -> trajfmt.Provenance:
    """Return the provenance that a bundle records about its experts."""
    every = config.steps_per_timestep
    return trajfmt.Provenance(
        dataset=dataset.name,
        model=model,
        preprocessing=dataset.transform.record,
        recipe={"optimizer": "sgd", **asdict(config)},
        timestep=trajfmt.TimestepUnit(kind="step" if every else "epoch", every=every or 1),
    )


def buffer_folder(root: Path, dataset: Dataset, model: trajfmt.Model) -> Path:
    """Return the folder in which MTT expects replay buffers: `{root}/{dataset}[_NO_ZCA]/{model}`.

    MTT adds the suffix for CIFAR only. Here every dataset has it, except those whose folder MTT's scripts
    expect without it.
    """
    plain = dataset.transform.record.kind != "zca" and dataset.name not in ("Tiny", "ImageNet")
    return root / f"{dataset.name}{'_NO_ZCA' if plain else ''}" / _mtt_name(model)


def _mtt_name(model: trajfmt.Model) -> str:
    """Return MTT's name of a network, which omits the depth 3 and the width 128."""
    name = models.model_name(model)
    if model.family != "ConvNet":
        return name
    depth = "" if model.depth == 3 else f"D{model.depth}"
    width = "" if model.width == 128 else f"W{model.width}"
    return name.replace(f"D{model.depth}W{model.width}", depth + width, 1)
