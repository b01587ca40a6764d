"""The command `mct distill`: makes a synthetic dataset from a bundle of trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from . import commands, condensation, inner, options, process, real, sections, values

if TYPE_CHECKING:
    from trajfmt.storage.address import Place

__all__ = ["distill"]

_NAMED: Final = 3
"""Bundles after which the folder of a run is named. A name has at most 255 bytes."""


@click.command(cls=commands.Command, sections=sections.DISTILL)
@click.option(
    "--traj",
    type=values.PLACE,
    multiple=True,
    help="Bundle of expert trajectories (.mct or .mtt), as a path or an address. May be repeated: the "
    "trajectories of all are used. Some methods need none.",
)
@click.option(
    "--out",
    type=values.PATH,
    help="Folder of the run.  [default: NAME-distilled for NAME.mct or NAME.mtt, A+B-distilled for two, "
    "DATASET-METHOD-distilled without --traj]",
)
@click.option("--resume", is_flag=True, help="Continue the run in the folder, with its settings.")
@click.option("--preset", help="Published settings by name: see mct presets.")
@click.option(
    "--after",
    type=values.INPUT,
    help="Result of an earlier stage: the folder of a run, or a file in it. Its images are kept as they are, "
    "and --ipc new ones of each class are added.",
)
@click.option(
    "--earlier-images",
    type=click.Choice(["joint", "apart"]),
    help="With --after: a student learns from the earlier and the new images, or from the new ones alone.  "
    "[default: joint]",
)
@click.option(
    "--method",
    help="Whose published settings to use: mtt, mct, tesla, ftd, att, datm, pad, selmatch or seqmatch; rat, "
    "with or without --traj; dc, dsa, dm or cafe, without --traj; or a method of your own, as "
    "package.module:name.  "
    "[default: mct for a .mct, mtt for a .mtt]",
)
@click.option("--dataset", type=values.DATASET, help="Dataset name or path, if no bundle names one.")
@options.data
@click.option(
    "--model",
    help="Network, such as ConvNetD3W128, if no bundle names it.  "
    "[default without --traj: that of the preset, or the usual one for the dataset]",
)
@options.preprocessing
@options.augment
@click.option("--ipc", type=int, help="Images per class.  [default: 1]")
@click.option("--steps", "inner_steps", type=int, help="N: student updates per outer step.")
@inner.steps
@inner.optimizer
@click.option("--expert-steps", type=float, help="M: timesteps from start to target.")
@click.option("--max-start", type=float, help="Upper bound of the start times, in timesteps.")
@click.option("--trajectories", type=int, help="Use only the first so many trajectories.  [default: all]")
@click.option(
    "--sampling",
    type=click.Choice(["auto", "continuous", "discrete"]),
    help="Draw real or whole start times.  [default: continuous from a .mct, discrete from a .mtt]",
)
@click.option(
    "--gradient",
    type=click.Choice(["exact", "tesla"]),
    help="tesla: the biased gradient of TESLA's and the MCT authors' code.  [default: exact]",
)
@click.option(
    "--start-noise",
    type=float,
    help="Standard deviation of the noise added to every weight at the start, relative to the size of the "
    "weight.  [default: 0]",
)
@click.option("--min-start", type=float, help="Smallest start time, in timesteps.  [default: 0]")
@click.option(
    "--ramp-from",
    type=float,
    help="Upper bound of the start times in the first outer step, from which it rises to --max-start.",
)
@click.option("--ramp-steps", type=int, help="Outer steps in which the bound rises from --ramp-from.")
@click.option(
    "--labels",
    type=click.Choice(["hard", "teacher", "learned"]),
    help="hard: class numbers; teacher: soft labels, the outputs of an expert (--label-time); learned: soft "
    "labels that begin as outputs of the experts and are learned with the images.  [default: hard]",
)
@click.option(
    "--label-time",
    type=click.Choice(["target", "max-start", "last"]),
    help="Timestep of the expert that gives teacher labels: the target of the step, --max-start, or the "
    "last one.  [default: target]",
)
@click.option("--lr-label", type=float, help="Learning rate of learned labels.  [default: 2]")
@click.option("--label-momentum", type=float, help="Momentum of learned labels.  [default: 0.9]")
@click.option(
    "--initial",
    type=click.Choice(["random", "correct", "scored", "noise", "unit-noise"]),
    help="Images to begin with: random real ones, ones that experts classify correctly, the hardest ones by "
    "--scores, or noise.  [default: random]",
)
@click.option(
    "--scores",
    type=values.SCORES,
    help="Difficulty of the training images, for --initial scored: an .npy, .npz or .pt file as for mct "
    "experts; or el2n, scores that are computed with these experts.",
)
@click.option(
    "--skip-hardest",
    type=float,
    help="Number of hardest images of each class to leave out, divided by --ipc (--initial scored).  "
    "[default: 0]",
)
@click.option(
    "--learned-share",
    type=float,
    help="Share of the images of each class to learn; the first ones stay real images.  [default: 1]",
)
@click.option("--loss-threshold", type=float, help="Ignore samples whose loss is larger.  [default: none]")
@click.option(
    "--image-average",
    type=float,
    help="Decay of a running average of the images over the outer steps, which becomes the result.  "
    "[default: no average]",
)
@click.option(
    "--end",
    type=click.Choice(["last", "nearest"]),
    help="Compare the student with the target at the end, or where it comes nearest.  [default: last]",
)
@click.option(
    "--drop",
    type=float,
    help="Share of the parameters to leave out of the comparison; with --drop-by dissimilar, the similarity "
    "below which a parameter is left out.  [default: 0]",
)
@click.option(
    "--drop-by",
    type=click.Choice(["smallest", "first", "dissimilar"]),
    help="Which parameters --drop leaves out: those that differ least from the target, the first ones of the "
    "network, or those whose size is unlike that of the target.  [default: smallest]",
)
@real.options
@click.option("--outer-steps", type=int, help="Updates of the synthetic images.")
@click.option("--lr-img", type=float, help="Learning rate of the images.")
@click.option("--lr-img-halving", type=int, help="Halve --lr-img after every so many outer steps.")
@click.option(
    "--outer-optimizer",
    type=click.Choice(["sgd", "adam"]),
    help="Update of the images and of learned labels: SGD with momentum, or Adam.  [default: sgd]",
)
@click.option(
    "--lr-lr", type=float, help="Learning rate with which the student's learning rate is learned; 0 keeps it."
)
@click.option("--lr-init", type=float, help="Learning rate of the student at the beginning.")
@click.option("--batch-syn", type=int, help="Synthetic images per inner step.  [default: all]")
@condensation.settings
@click.option("--eval-every", type=int, help="Evaluate every so many outer steps, and keep the best images.")
@click.option(
    "--select",
    type=click.Choice(["heldout", "test"]),
    help="Evaluate and choose the best images on a held-out tenth of the training images, which is kept out "
    "of the initial images, or on the test set, as published numbers do.  [default: heldout]",
)
@click.option(
    "--eval-networks", type=int, help="Fresh networks of an evaluation (--eval-every).  [default: 5]"
)
@click.option("--eval-epochs", type=int, help="Passes over the images in an evaluation.  [default: 1000]")
@click.option("--eval-batch", type=int, help="Images per step in an evaluation.  [default: 256]")
@click.option(
    "--eval-protocol",
    type=click.Choice(["mtt", "sequence", "rat", "selmatch"]),
    help="How an evaluation trains networks: as in MTT, on one stage of the images after the other "
    "(sequence), as in RaT-BPTT or as in SelMatch.  [default: that of the preset, else mtt, or sequence "
    "with --after]",
)
@click.option(
    "--snapshot-every",
    type=int,
    help="Keep a picture of the images every so many outer steps, for mct plot animation.",
)
@click.option("--save-every", type=int, help="Save images and state every so many outer steps.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "compiled", "eager"]),
    help="How updates are computed; auto: compiled if the run is long enough.  [default: auto]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bf16"]),
    help="bf16: faster on a GPU, less exact.  [default: float32]",
)
@click.option(
    "--samples",
    type=int,
    help="Trajectories and starts that an outer step averages.  [default: 1, or one for each process]",
)
@click.option(
    "--shard",
    is_flag=True,
    help="Divide every batch among the processes, instead of the samples, so that each needs less memory.",
)
@click.option("--knots-mb", type=int, help="MiB of knots to keep on the device.  [default: 1024]")
@click.option(
    "--keep-mb",
    type=values.BUDGET,
    help="MiB of activations to keep instead of computing them again; auto: as free memory allows. "
    "It has no effect with --step-images or --shard.  [default: auto]",
)
@click.option("--step-images", type=int, help="Images to compute at once.  [default: a whole batch]")
@click.option("--profile", type=values.PATH, help="Write a trace of outer steps 2 to 4, for Perfetto.")
@click.option(
    "--log",
    type=click.Choice(["csv", "tensorboard", "trackio", "wandb"]),
    multiple=True,
    help="Also log losses, accuracies and images for this tool. May be repeated. See docs/logging.md.",
)
@options.seed
@options.deterministic
@options.device
def distill(
    traj: tuple[Place, ...],
    out: Path | None,
    data: Path | None,
    knots_mb: int | None,
    keep_mb: int | None,
    step_images: int | None,
    profile: Path | None,
    log: tuple[str, ...],
    scores: Path | str | None,
    deterministic: bool,
    device: str,
    **settings: Any,
) -> None:
    """Distil a dataset from one or more bundles of trajectories.

    Dataset, model and preprocessing come from the bundle; a method that needs no trajectories takes --dataset
    instead of --traj. Settings that are not given are the published ones of the method for the dataset and
    --ipc (see mct presets). Ctrl-C saves the state, and --resume continues from it. docs/methods.md explains
    the methods and their options.

    On several GPUs: torchrun --nproc-per-node 4 -m traj_cli.mct distill …
    """
    from mct.distillation.run import DistillRun
    from mct.logs.log import Log, require
    from mct.runtime.execution import Execution
    from mct.runtime.ranks import joined, together
    from mct.settings.groups import flat

    from . import lines, progress, runs

    require(log)
    process.settle(deterministic=deterministic)
    memory = {"knots_mb": knots_mb, "keep_mb": keep_mb, "step_images": step_images}
    given = {name: value for name, value in memory.items() if value is not None}
    with joined(device, notes=lines.notice) as (ranks, here):
        with together(ranks), progress.phases("distill"):
            run = DistillRun.prepare(
                [each if isinstance(each, Path) else each.text for each in traj],
                out or Path(f"{_subject(traj, settings)}-distilled"),
                root=data,
                device=here,
                execution=Execution(profile=profile, **given),
                ranks=ranks,
                scores=None if scores is None else str(scores),
                **settings,
            )
            logs = Log(log, run.folder.path, settings=flat(run.distiller.config), notes=lines.Notes())
        with run:
            runs.distillation(run, note=process.device_note(device, here), log=logs)
            if ranks.rank == 0:
                runs.outcome(run, run.outcome())


def _subject(bundles: Sequence[Place], settings: Mapping[str, Any]) -> str:
    """Return what the folder of a run is named after: its bundles, or without them dataset and method."""
    if bundles:
        return _stems(bundles)
    from mct.settings.presets import PRESETS

    preset, dataset = PRESETS.get(settings["preset"] or ""), settings["dataset"]
    named, method = "" if preset is None else preset.dataset, "" if preset is None else preset.method
    if dataset is not None:
        named = Path(dataset).resolve().stem
    if settings["method"] is not None:
        method = settings["method"].rpartition(":")[2]
    return "-".join(filter(None, (named, method))) or "run"


def _stems(bundles: Sequence[Place]) -> str:
    """Return the names of bundles without their endings, after which the folder of a run is named."""
    if len(bundles) <= _NAMED:
        return "+".join(map(_stem, bundles))
    return f"{_stem(bundles[0])}+{len(bundles) - 1}-more"


def _stem(traj: Place) -> str:
    return traj.resolve().stem if isinstance(traj, Path) else Path(traj.name).stem
