"""What a run that trains experts records about them, its identity, and where MTT looks for its files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trajfmt
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.data.preprocessing import hash_images
from mct.errors import ConfigError
from mct.models import networks
from mct.runtime.seeds import generator
from mct.settings.expert import ExpertConfig
from trajfmt.schema import OWN_DATASET, models
from trajfmt.torch import layout_of
from trajfmt.trajectory import needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The description of a run that trains experts: what it records, and its identity."""

    layout: trajfmt.ParamLayout
    """Parameter layout of the network."""

    provenance: trajfmt.Provenance
    """What a bundle records about the experts."""

    identity: bytes
    """A hash of the settings, the network and the training data. A run continues an interrupted one if both
    have the same identity."""

    knots: Sequence[int] = ()
    """Timesteps of inserted waypoints, for a `convex` bundle."""

    smooth: bool = False
    """Whether to average inserted waypoints with their neighbours, for a `convex` bundle."""

    average: int = 1
    """Number of timesteps of which every knot but the first is the mean, for a `convex` bundle."""


def job_of(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ExpertConfig,
    *,
    knots: Sequence[int],
    smooth: bool,
    average: int = 1,
    curriculum: Mapping[str, str | int] | None = None,
    starts: Mapping[str, str | int] | None = None,
) -> Job:
    """Return the description of a run with these settings.

    Args:
        dataset: The real dataset.
        model: The network.
        config: Settings of expert training.
        knots: Timesteps of inserted waypoints, for a `convex` bundle.
        smooth: Whether to average inserted waypoints with their neighbours, for a `convex` bundle.
        average: Number of timesteps of which every knot but the first is the mean.
        curriculum: What is recorded of a curriculum, see `mct.experts.difficulty.recorded`; None without one.
        starts: What is recorded of the distilled images that experts start from, see
            `mct.experts.starts.Starts.facts`; None if they start at random.
    """
    recipe = config.facts()
    del recipe["experts"]  # no expert depends on how many there are, so a resumed run may train more
    facts = [
        recipe,
        models.model_name(model),
        # The record of the preprocessing has another hash, which a part or a changed copy of the data shares.
        hash_images(dataset.train_images),
        dataset.labels_sha256,
        knots,
        smooth,
        *([] if average == 1 else [f"average {average}"]),
    ]
    source = networks.source_sha256(model)
    facts += [] if source is None else [source]
    facts += [] if curriculum is None else [dict(curriculum)]
    facts += [] if starts is None else [dict(starts)]
    return Job(
        layout=layout_of(networks.build(model, generator=generator(0))),
        provenance=provenance(dataset, model, config, {**(curriculum or {}), **(starts or {})}),
        identity=hashlib.sha256(json.dumps(facts).encode()).hexdigest().encode(),
        knots=knots,
        smooth=smooth,
        average=average,
    )


def provenance(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ExpertConfig,
    further: Mapping[str, str | int] | None = None,
) -> trajfmt.Provenance:
    """Return the provenance that a bundle records about its experts, with `further` facts in the recipe."""
    every = config.steps_per_timestep
    part: dict[str, int | str] = {} if dataset.limit is None else {"images_per_class": dataset.limit}
    if dataset.file is not None:
        part[OWN_DATASET] = dataset.file
    if (source := networks.source_sha256(model)) is not None:
        part["model_source_sha256"] = source
    part |= further or {}
    return trajfmt.Provenance(
        dataset=dataset.name,
        model=model,
        preprocessing=dataset.transform.record,
        recipe={"optimizer": "sgd", **config.facts(), "labels_sha256": dataset.labels_sha256, **part},
        timestep=trajfmt.TimestepUnit(kind="step" if every else "epoch", every=every or 1),
    )


def require_told_by_buffers(dataset: Dataset, config: ExpertConfig) -> None:
    """Require that MTT's replay buffers can tell what the run does.

    Raises:
        ConfigError: If they cannot.
    """
    if config.steps_per_timestep:
        raise ConfigError(
            "MTT's replay buffers have a timestep for every epoch; with `steps_per_timestep`, "
            "write a bundle: --out NAME.mtt"
        )
    if dataset.transform.record.kind == "none":
        raise ConfigError(
            "the folders of MTT's replay buffers can only say that images were normalised or whitened; "
            "with the preprocessing none, write a bundle: --out NAME.mtt"
        )


def require_possible(
    config: ExpertConfig, images: int, *, only: Sequence[int] | None, knots: Sequence[int], average: int
) -> None:
    """Require an augmentation that exists, and numbers of experts and of timesteps that the run has.

    Raises:
        ConfigError: If one of them does not exist.
    """
    augmentation(config.augment)
    if only is not None and not set(only) <= set(range(config.experts)):
        odd = next(number for number in only if not 0 <= number < config.experts)
        raise ConfigError(f"`only` must name experts from 0 to {config.experts - 1}, got {odd}")
    timesteps = config.timesteps(images)
    if knots and max(knots) >= timesteps - 1:
        raise ConfigError(f"`knots` must be less than the last timestep, {timesteps - 1}, got {max(knots)}")
    if timesteps < (least := needed(knots, average)):
        raise ConfigError(
            f"knots that are means of {average} timesteps need {least} timesteps, but training records "
            f"{timesteps}; use a smaller `average` or earlier `knots`"
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
