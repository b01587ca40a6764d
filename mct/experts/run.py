"""A run that trains experts and writes their trajectories to a bundle or to MTT's replay buffers.

An interrupted run can be resumed with the same settings, and continues after the finished experts. The
identity of a `Job` ensures that the settings are the same. `mct.experts.train` trains experts, and
`mct.experts.distributed` divides them between processes.
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
    """A run that trains experts, with checked inputs. Create it with `prepare`, and run it with `events`."""

    dataset: Dataset
    """The real dataset."""

    model: trajfmt.Model
    """The network."""

    config: ExpertConfig
    """Settings of expert training."""

    path: Path
    """Destination: a bundle (`.mct` for convex, `.mtt` for full), or a folder of replay buffers."""

    device: torch.device
    """Device on which experts are trained."""

    knots: tuple[int, ...] = ()
    """Timesteps of inserted waypoints, for a `.mct` bundle."""

    smooth: bool = False
    """Whether to average inserted waypoints with their neighbours, for a `.mct` bundle."""

    engine: Engine = "auto"
    """How updates of the experts are computed."""

    at_once: int = 1
    """Number of experts that are trained at the same time in each process."""

    notes: Notes | None = None
    """Called with each note for the user."""

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
        limit: int | None = None,
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
            dataset: Name or path of a dataset, see `mct.data.datasets.load`.
            out: A bundle with the suffix `.mct` or `.mtt`, or a folder for replay buffers, see
                `buffer_folder`.
            model: Name of the network, such as ConvNetD3W128; None for the default of the dataset.
            preprocessing: `none`, `normalize` or `zca`; None for `normalize`.
            root: Folder of the files of datasets; None for the default.
            image_size: Size in pixels to which the images of a folder are scaled; None to leave them.
            limit: Train on the first images of each class, as many as this; None to train on all. The
                recipe of a bundle records it.
            knots: Timesteps of inserted waypoints, for a `.mct` bundle.
            smooth: Whether to average inserted waypoints with their neighbours, for a `.mct` bundle.
            device: Device on which experts are trained.
            engine: How updates are computed, see `mct.experts.train.train_experts`.
            at_once: Number of experts that are trained at the same time in each process.
            notes: Called with each note for the user.
            ranks: The processes that share the experts, all of which must make this call; None for this
                process alone.
            **settings: Fields of `ExpertConfig`. A field that is None or not given has its default for the
                dataset.

        Raises:
            ConfigError: If a setting is invalid.
            DataError: If the dataset cannot be loaded.
            ExistsError: If the destination exists.
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
        if limit is not None:
            real = real.limited(limit)
        if notes is not None:
            for line in real.notes:
                notes(line)
        name = defaults.MODELS.get(real.name, "ConvNet") if model is None else model
        network = networks.parse(
            name, channels=real.channels, image_size=real.image_size, classes=real.classes
        )
        if not recording.is_bundle(out) and settings.get("steps_per_timestep"):
            raise ConfigError(
                "MTT's replay buffers have a timestep for every epoch; with `steps_per_timestep`, "
                "write a bundle: --out NAME.mtt"
            )
        if not recording.is_bundle(out) and real.transform.record.kind == "none":
            raise ConfigError(
                "the folders of MTT's replay buffers can only say that images were normalised or whitened; "
                "with the preprocessing none, write a bundle: --out NAME.mtt"
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
        """Train all experts that are not stored yet, and store them.

        A bundle appears when all experts are finished, and replay buffer files as soon as they are complete.
        If the loop ends early, for whatever reason, finished experts are stored, and a later run with the
        same settings continues after them. Only rank 0 writes. The other processes yield the epochs of the
        experts that they train.

        Raises:
            ExistsError: If the destination contains something else.
            OSError: If the experts cannot be written, or would not fit on the disk.
            MctError: If training fails.
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
        """Open the store, and check that the experts that it does not contain yet fit on the disk."""
        store = recording.store(self.path, job)
        try:
            missing = self.config.experts - store.finished
            tensorfile.require_space(self.path.parent, missing * self._expert_bytes(job.layout))
        except BaseException:
            store.release()
            raise
        return store

    def _expert_bytes(self, layout: trajfmt.ParamLayout) -> int:
        """Return the bytes of an expert on disk: its knots in a `.mct` bundle, otherwise all timesteps."""
        every = self.config.timesteps(len(self.dataset.train_labels))
        kept = 2 + len(self.knots) if self.path.suffix == ".mct" else every
        return kept * layout.nbytes

    def _job(self) -> Job:
        recipe = asdict(self.config)
        del recipe["experts"]  # no expert depends on how many there are, so a resumed run may train more
        facts = [
            recipe,
            models.model_name(self.model),
            hash_images(self.dataset.train_images),
            self.dataset.labels_sha256,
            self.knots,
            self.smooth,
        ]
        source = networks.source_sha256(self.model)
        return Job(
            layout=layout_of(networks.build(self.model, generator=generator(0))),
            provenance=provenance(self.dataset, self.model, self.config),
            identity=hashlib.sha256(json.dumps(facts if source is None else [*facts, source]).encode())
            .hexdigest()
            .encode(),
            knots=self.knots,
            smooth=self.smooth,
        )


def provenance(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig) -> trajfmt.Provenance:
    """Return the provenance that a bundle records about its experts."""
    every = config.steps_per_timestep
    part = {} if dataset.limit is None else {"images_per_class": dataset.limit}
    return trajfmt.Provenance(
        dataset=dataset.name,
        model=model,
        preprocessing=dataset.transform.record,
        recipe={"optimizer": "sgd", **asdict(config), "labels_sha256": dataset.labels_sha256, **part},
        timestep=trajfmt.TimestepUnit(kind="step" if every else "epoch", every=every or 1),
    )


def buffer_folder(root: Path, dataset: Dataset, model: trajfmt.Model) -> Path:
    """Return the folder in which MTT expects replay buffers: `{root}/{dataset}[_NO_ZCA]/{model}`.

    MTT uses the suffix `_NO_ZCA` for CIFAR only. Here, it is used for all datasets without whitening except
    Tiny-ImageNet and ImageNet, for which MTT's scripts expect no suffix.
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
