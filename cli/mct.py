"""The command group `mct`: each command parses options, calls the library once, and shows the result.

Torch is imported inside the commands, so that help texts and usage errors appear without delay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import (
    commands,
    distill,
    images,
    methods,
    options,
    plots,
    presets,
    process,
    reproduce,
    run_pages,
    sections,
    torchrun,
    values,
)

__all__ = ["main"]


@click.group(
    cls=commands.Group,
    commands={
        "distill": distill.distill,
        "presets": presets.presets,
        "check-method": methods.check_method,
        "plot": plots.plot,
        "report": run_pages.report,
        "evaluate": images.evaluate,
        "convert-images": images.convert_images,
        "sets": images.sets,
        "reproduce": reproduce.reproduce,
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="trajfmt")
def main() -> None:
    """Distil data sets by matching training trajectories.

    \b
    Exit codes: 0 success, 1 failure, 2 wrong usage, 3 not a bundle or a result,
    or an unknown feature, 4 damaged, 5 refused as unsafe, 130 interrupted.

    An option with a value can be given once; a repeated flag changes nothing.
    """
    torchrun.interrupt_once()


@main.command(sections=sections.EXPERTS)
@click.option(
    "--dataset",
    type=values.DATASET,
    required=True,
    help="digits, CIFAR10, CIFAR100, Tiny, MNIST or FashionMNIST; or the path of an .npz or .safetensors "
    "file, or of a folder of images.",
)
@options.data
@click.option(
    "--image-size", type=int, help="Scale the images of a folder to this height and width in pixels."
)
@click.option("--limit", type=int, help="Train on the first N images of each class only, for a trial.")
@click.option(
    "--out",
    type=values.PATH,
    required=True,
    help="NAME.mct (convexified), NAME.mtt (every timestep), or a folder for replay buffers in MTT's layout.",
)
@click.option(
    "--model",
    help="Network, such as ConvNetD3W128, ResNet18 or package.module:factory.  [default: the usual one for "
    "the dataset]",
)
@options.preprocessing
@options.augment
@click.option("--experts", type=int, help="Number of experts.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option("--lr", type=float, help="Learning rate of SGD.")
@click.option(
    "--lr-decay",
    is_flag=True,
    default=None,
    help="Divide --lr by 10 after half of the epochs, as MTT does with --decay.",
)
@click.option("--momentum", type=float, help="Momentum of SGD.")
@click.option("--weight-decay", type=float, help="L2 penalty of SGD.")
@click.option(
    "--sharpness",
    type=float,
    help="Radius rho of sharpness-aware updates, which compute two gradients: 0.01 for FTD, 0 for plain SGD.",
)
@click.option(
    "--surrogate-gap",
    type=float,
    help="Weight alpha of the surrogate gap in sharpness-aware updates: 0.3 or 1 for FTD.  [default: 0]",
)
@click.option(
    "--curriculum",
    type=click.Choice(["pad"]),
    help="Choose the images of each epoch by their difficulty, as PAD does; it needs --scores.",
)
@click.option(
    "--scores",
    type=values.SCORES,
    help="Difficulty of the training images, for --curriculum: an .npy, .npz or .pt file of scores or of "
    "PAD's indices; or el2n, scores that are computed with the experts of --scores-from.",
)
@click.option("--scores-from", type=values.PLACE, help="Bundle of experts for --scores el2n.")
@click.option(
    "--start-from",
    type=values.INPUT,
    help="Distilled images: the folder of a run, or a file in it. Each expert starts from a network trained "
    "on them, as SeqMatch's experts of a later stage do.",
)
@click.option("--batch-size", type=int, help="Images per step.")
@click.option(
    "--steps-per-timestep", type=int, help="Record weights every so many steps instead of every epoch."
)
@click.option(
    "--knots",
    type=values.INTEGERS,
    default=(),
    help="Timesteps to keep in OUT.mct besides the endpoints, such as 6,25.",
)
@click.option(
    "--smooth",
    is_flag=True,
    help="Average knots with their neighbouring timesteps, as the MCT authors' code does.",
)
@click.option(
    "--average",
    type=click.IntRange(min=1),
    default=1,
    metavar="K",
    help="Store the mean of K timesteps at every knot but the first: those around it, or the last K.",
)
@click.option(
    "--at-once", type=int, default=1, show_default=True, help="Experts to train at once in each process."
)
@click.option(
    "--only",
    type=values.EXPERTS,
    help="Train only these experts, counted from 0, such as 17 or 0-9,20, each into a bundle of its own in "
    "the folder OUT.parts. The command without --only then collects them.",
)
@click.option(
    "--save-minutes",
    type=click.FloatRange(min=0),
    default=5,
    show_default=True,
    help="Save the state of an expert in training whenever so many minutes have passed; 0 after every step.",
)
@click.option(
    "--slurm",
    type=values.SETTINGS,
    help="Train nothing here, but submit a Slurm job for each expert that is missing (or --at-once experts), "
    "with these options of sbatch, such as partition=gpu,time=120,gpus=1.",
)
@options.seed
@options.deterministic
@options.device
def experts(
    dataset: str,
    data: Path | None,
    out: Path,
    model: str | None,
    preprocessing: str | None,
    deterministic: bool,
    device: str,
    save_minutes: float,
    slurm: dict[str, str] | None,
    **settings: Any,
) -> None:
    """Train experts on real images and record their trajectories.

    Trajectories in OUT.mct are convexified during training; full trajectories are never stored. After an
    interruption, the same command continues from the finished experts, and from the saved state of those in
    training. The jobs of a cluster train --only some experts each (docs/scale.md).
    """
    from mct.experts.run import ExpertRun
    from mct.runtime.ranks import joined, together

    from . import lines, progress, runs
    from . import slurm as jobs

    process.settle(deterministic=deterministic)
    # Where jobs are submitted there may be no GPU. They get the option as it was given.
    with joined(device if slurm is None else "cpu", notes=lines.notice) as (ranks, here):
        with together(ranks), progress.phases("experts"):
            run = ExpertRun.prepare(
                dataset,
                out,
                model=model,
                preprocessing=preprocessing,
                root=data,
                device=here,
                ranks=ranks,
                notes=lines.Notes(),
                save_every=60 * save_minutes,
                **settings,
            )
        if slurm is not None:
            jobs.submit(run, click.get_current_context(), slurm)
        else:
            runs.experts(run, note=process.device_note(device, here))


@main.command()
@click.option(
    "--out", type=values.PATH, default=Path("demo-out"), show_default=True, help="Folder for all files."
)
@click.option("--force", is_flag=True, help="Replace the folder of an earlier demo.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
def demo(out: Path, force: bool, seed: int) -> None:
    """Run all steps on small images of digits, in about a minute.

    The steps are mct experts, traj convert, traj inspect, mct distill and mct evaluate.
    """
    from . import demo as steps

    steps.run(out, force=force, seed=seed)


if __name__ == "__main__":
    main(prog_name="mct")
