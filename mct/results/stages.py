"""Distillations in stages: each adds images to those of the stages before, which stay as they are.

The images of earlier stages are the first rows of a synthetic dataset, in the order of the stages. A student
of a stage learns from these and from the new images (SeqMatch), or from the new ones alone (PTM). An
evaluation in sequence trains a network on the images that the students of each stage learned from, stage
after stage, each time with the learning rate that was learned in the stage.

References:
    Du et al., "Sequential Subset Matching for Dataset Distillation", NeurIPS 2023.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import trajfmt
from mct.errors import ConfigError, MismatchError
from mct.results.origin import EarlierStage, ForeignOrigin, Origin

if TYPE_CHECKING:
    from mct.results.synthetic import SyntheticDataset
    from mct.settings.config import DistillConfig


@dataclass(frozen=True, slots=True)
class Stage:
    """What a network learns from in one part of an evaluation in sequence."""

    rows: Tensor
    """`(n,)` int64 on the CPU: the numbers of the images."""

    learning_rate: float
    """The learning rate that was learned in the stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The result of earlier stages, to which a distillation adds images."""

    path: Path
    """The file of the result."""

    sha256: str
    """Hash of the file."""

    synthetic: "SyntheticDataset"
    """The images of all earlier stages, on the CPU."""

    @property
    def stages(self) -> tuple[EarlierStage, ...]:
        """Return the records of the earlier stages, as the origin of the distillation has them."""
        found, origin = self.synthetic, self.synthetic.run
        last = EarlierStage(
            images=len(found.labels) - found.fixed,
            learning_rate=found.learning_rate,
            joint=origin.config.earlier_images == "joint" and bool(origin.stages),
            artifact_sha256=origin.artifact_sha256,
            outer_step=origin.outer_step,
            sha256=self.sha256,
            real_images=origin.config.real_images,
        )
        return (*origin.stages, last)

    def check_data(
        self, class_names: tuple[str, ...], preprocessing: trajfmt.Preprocessing, labels_sha256: str | None
    ) -> None:
        """Require the real images of the earlier stages.

        Args:
            class_names: Names of the classes.
            preprocessing: Preprocessing of the images, which identifies them.
            labels_sha256: Hash of their labels; None: unknown.

        Raises:
            MismatchError: They are others.
        """
        then = self.synthetic.run
        facts = [
            ("class names", then.class_names, class_names),
            ("preprocessing", then.preprocessing.kind, preprocessing.kind),
            ("training images", then.preprocessing.images_sha256, preprocessing.images_sha256),
            ("labels of the training images", then.labels_sha256, labels_sha256),
        ]
        for what, before, after in facts:
            if before is not None and after is not None and before != after:
                shown = "" if what != "preprocessing" else f": {before!r}, here it is {after!r}"
                raise MismatchError(
                    f"{self.path}: the earlier stage has other {what}{shown}; give the dataset and the "
                    "preprocessing of the earlier stage"
                )

    def check(self, origin: Origin) -> None:
        """Require that a distillation can add images.

        Args:
            origin: The origin of the distillation.

        Raises:
            ConfigError: A setting has no meaning with images of several stages.
            MismatchError: It has another dataset, another preprocessing or labels of another kind, or it
                tests on images that earlier stages may have begun with.
        """
        then, now = self.synthetic.run, origin
        self.check_data(now.class_names, now.preprocessing, now.labels_sha256)
        kinds = [_labels(config) for config in (then.config, now.config)]
        if kinds[0] != kinds[1] or "teacher" in kinds:
            raise MismatchError(
                f"{self.path}: the labels of the earlier stage are {kinds[0]}, and those of this one "
                f"{kinds[1]}; give --labels hard to all stages, or --labels learned and one --label-form"
            )
        if now.config.sampler == "classes" and now.config.earlier_images == "joint":
            raise ConfigError(
                "`sampler` classes draws from the images of one stage; give --earlier-images apart, or "
                "another --sampler"
            )
        if now.config.select == "heldout" and then.config.select == "test":
            raise MismatchError(
                f"{self.path}: the earlier stage may have begun with the images that `select` heldout holds "
                "out, as it had `select` test; give --select test here, too"
            )

    def with_new(self, new: "SyntheticDataset") -> "SyntheticDataset":
        """Return the images of earlier stages, and behind them new ones.

        Args:
            new: The new images, of a single stage, with the origin of the distillation.
        """
        old = self.synthetic.to(new.images.device)
        soft = None
        if old.soft_labels is not None and new.soft_labels is not None:
            soft = torch.cat([old.soft_labels, new.soft_labels])
        logits = None
        if old.label_logits is not None and new.label_logits is not None:
            logits = torch.cat([old.label_logits, new.label_logits])
        return replace(
            new,
            origin=replace(new.run, stages=self.stages),
            images=torch.cat([old.images, new.images]),
            labels=torch.cat([old.labels, new.labels]),
            soft_labels=soft,
            label_logits=logits,
        )


def _labels(config: "DistillConfig") -> str:
    """Return the kind of the labels in words."""
    return f"learned as {config.label_form}" if config.labels == "learned" else config.labels


def fixed(origin: Origin | ForeignOrigin) -> int:
    """Return the number of the images of earlier stages; they are the first ones."""
    return sum(stage.images for stage in origin.stages) if isinstance(origin, Origin) else 0


def learned(origin: Origin | ForeignOrigin, images: int) -> Tensor | None:
    """Return which images were learned in their stage, `(N,)` bool, if others stayed real; else None.

    Args:
        origin: The origin of the images.
        images: N.
    """
    if not isinstance(origin, Origin):
        return None
    added = [(stage.images, stage.real_images) for stage in origin.stages]
    added.append((images - fixed(origin), origin.config.real_images))
    classes = len(origin.class_names)
    parts = [torch.arange(count) % max(1, count // classes) >= real for count, real in added]
    return torch.cat(parts) if any(real for _, real in added) else None


def sequence(origin: Origin | ForeignOrigin, images: int, learning_rate: float) -> tuple[Stage, ...]:
    """Return the parts of an evaluation in sequence; empty for images of a single stage.

    Args:
        origin: The origin of the images.
        images: Number of all images.
        learning_rate: That of the last stage.
    """
    if not isinstance(origin, Origin) or not origin.stages:
        return ()
    found, begin = list[Stage](), 0
    for stage in origin.stages:
        end = begin + stage.images
        found.append(Stage(torch.arange(0 if stage.joint else begin, end), stage.learning_rate))
        begin = end
    joint = origin.config.earlier_images == "joint"
    return (*found, Stage(torch.arange(0 if joint else begin, images), learning_rate))
