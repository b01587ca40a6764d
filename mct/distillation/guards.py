"""Checks that end a distillation that cannot go on usefully, or keep one from starting.

A run ends when a loss, gradient, image or learning rate is not finite; when the learning rate is not
positive, or above both 1 and 100 times `lr_init`; and when the loss is above the largest one that its
objective allows. With published settings the learning rate stays within a factor of ten of `lr_init`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mct.data.datasets import Dataset
from mct.data.picking import even_batches
from mct.distillation.state import State
from mct.errors import ConfigError, DivergedError, MismatchError
from mct.models import el2n, networks
from mct.settings.config import DistillConfig
from mct.trajectories.stream import Bundle
from trajfmt.bundle import Numbering
from trajfmt.errors import counted

_LARGEST_RATE = 1.0
_LARGEST_GROWTH = 100.0

_HOPELESS = 100
"""Number of outer steps after which a run ends that has not used a single sample."""


def trouble(
    config: DistillConfig,
    *,
    largest_loss: float,
    loss: float,
    image_gradient: Tensor,
    rate_gradient: float,
    images: Tensor,
    rate: float,
    labels: Tensor | None = None,
) -> str | None:
    """Return why an outer step cannot be used, and what to try; None if nothing is wrong.

    Args:
        config: The settings of the run.
        largest_loss: Of the objective: a larger loss ends the run.
        loss: The loss before the update.
        image_gradient: The gradient of the loss in the images, `(N, C, H, W)`.
        rate_gradient: The derivative of the loss in the learning rate.
        images: The images after the update.
        rate: The learning rate after the update.
        labels: Learned labels after the update, as logits.
    """
    most = max(_LARGEST_RATE, _LARGEST_GROWTH * config.lr_init)
    if not math.isfinite(loss):
        return f"the loss is {loss}; try a smaller `lr_init`"
    if loss > largest_loss:
        return f"the loss is {loss:g}: the student runs away; try a smaller `lr_img` or `lr_init`"
    if not (math.isfinite(rate_gradient) and bool(image_gradient.isfinite().all())):
        return "a gradient is not finite; try a smaller `lr_init` or fewer `inner_steps`"
    if not bool(images.isfinite().all()):
        return "the images are no longer finite; try a smaller `lr_img`"
    if labels is not None and not bool(labels.isfinite().all()):
        return "the labels are no longer finite; try a smaller `lr_label`"
    if not 0 < rate <= most:
        return f"the learning rate became {rate:g}, outside 0 to {most:g}; try a smaller `lr_lr`"
    return None


def check_weights(bundle: Bundle | None, network: nn.Module, config: DistillConfig) -> None:
    """Require that a bundle has the weights of a network, or that nothing needs a bundle.

    Args:
        bundle: The trajectories; None if there are none.
        network: The network of the run.
        config: The settings.

    Raises:
        MismatchError: The bundle has other parameters, or weights of another number format.
        ConfigError: There is no bundle, and a setting needs one.
    """
    if bundle is None:
        needing = {
            "initial": config.initial == "correct",
            "labels": config.labels == "teacher" or config.learns_logits,
            "scores": config.initial == "scored" and config.scores == el2n.NAME,
        }
        for name in (name for name, needed in needing.items() if needed):
            raise ConfigError(
                f"`{name}` {getattr(config, name)} needs experts, and the run has no trajectories; give a "
                f"bundle, --traj, or omit `{name}`"
            )
        return
    if bundle.layout.dtype not in ("F32", "BF16", "F16"):
        raise MismatchError(
            f"weights must be F32, BF16 or F16 to be distilled, the bundle has {bundle.layout.dtype};"
            " convert it with --dtype f32"
        )
    networks.check_layout(network, bundle.layout)


def check_sampler(dataset: Dataset, config: DistillConfig) -> None:
    """Require that batches can be drawn evenly from the classes, if they are to be.

    Raises:
        ConfigError: Their size is neither less than the number of classes nor a multiple of it.
    """
    if config.sampler == "classes":
        even_batches(dataset.classes, config.ipc, config.batch_syn, 0, torch.Generator())


def unused_bundle(bundle: Bundle | None, config: DistillConfig) -> list[str]:
    """Return a line for the user if there are trajectories on which nothing depends; else nothing."""
    if bundle is None or config.asks_experts or config.objective != "real" or config.fresh_starts < 1:
        return []
    return [
        "the trajectories are not used, because all students start as fresh networks: set `fresh_starts` to "
        "less than 1 to start some of them on trajectories"
    ]


def check_initial(dataset: Dataset, config: DistillConfig) -> None:
    """Require `ipc` training images of every class of `dataset`, and scores if the initial images need them.

    Raises:
        ConfigError: A class has fewer, or there are no scores.
    """
    if config.initial in ("noise", "unit-noise"):
        return
    if config.initial == "scored" and config.scores is None:
        raise ConfigError(
            "`initial` scored needs the difficulty of the training images: set `scores` to a file, or to "
            "el2n for scores that are computed with these experts"
        )
    counts = torch.bincount(dataset.train_labels, minlength=dataset.classes)
    label = int(counts.argmin())
    if int(counts[label]) < config.ipc:
        apart = " besides the held-out ones" if config.select == "heldout" else ""
        raise ConfigError(
            f"`ipc` is {config.ipc}, but class {dataset.class_names[label]!r} has only "
            f"{counted(int(counts[label]), 'training image')}{apart}; use a smaller `ipc`, or more images"
        )


def check_unit(
    numbering: Numbering, given: Mapping[str, object], config: DistillConfig | None = None
) -> None:
    """Require that the window of start times is given unless timesteps are epochs from the start.

    Published settings and defaults count epochs from the initialisation.

    Args:
        numbering: What the timesteps of the bundle are. If nothing says it, nothing is required.
        given: The settings that the user gave.
        config: All settings. A preset may narrow the window with further ones; None: not known yet.

    Raises:
        ConfigError: A default would count something else.
    """
    further = [name for name in ("min_start", "ramp_from") if config is not None and getattr(config, name)]
    lacking = [name for name in ("expert_steps", "max_start", *further) if given.get(name) is None]
    if not lacking or numbering.counts_epochs:
        return
    options = " and ".join("--" + name.replace("_", "-") for name in lacking)
    raise ConfigError(
        "the defaults count epochs from the initialisation, but the timesteps of the bundle are "
        f"{numbering.words}; give {options}, in timesteps of the bundle"
    )


def check_scores(numbering: Numbering, config: DistillConfig) -> None:
    """Require that EL2N scores are of epoch 10, where they are computed with the experts of the run.

    Args:
        numbering: What the timesteps of the bundle are.
        config: All settings.

    Raises:
        ConfigError: The timesteps are something else.
    """
    if config.initial == "scored" and config.scores == el2n.NAME and not numbering.counts_epochs:
        raise ConfigError(
            f"`scores` {el2n.NAME} are of epoch {el2n.TIMESTEP}, but the timesteps of the bundle are "
            f"{numbering.words}; give a file of scores"
        )


def refusals(config: DistillConfig, state: State) -> list[str]:
    """Return a line about outer steps that changed nothing, after the last one; else nothing.

    Args:
        config: The settings.
        state: The state after an outer step.

    Raises:
        DivergedError: No sample of all outer steps so far was used, and there were many.
    """
    last, refused, threshold = config.outer_steps, state.refused, config.loss_threshold
    words = "because the objective left every sample out"
    if threshold is not None:
        words = f"because the loss of every sample was above `loss_threshold` {threshold}"
    if refused == state.step and state.step >= min(_HOPELESS, last):
        raise DivergedError(
            f"none of {counted(state.step, 'outer step')} has changed anything, {words}; try a smaller "
            "`lr_init`, fewer `inner_steps` or a larger `loss_threshold`"
        )
    if not refused or state.step < last:
        return []
    return [f"{refused} of {counted(last, 'outer step')} changed nothing, {words}"]
