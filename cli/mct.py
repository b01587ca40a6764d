"""The command group `mct`: parse, one call into the library, one call to render.

Torch is imported inside the commands, so that help and wrong usage answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import failures, options, plots

__all__ = ["main"]

_device = click.option("--device", default="cpu", show_default=True, help="Torch device to compute on.")
_seed = click.option("--seed", type=int, help="Seed of everything random.  [default: 0]")
_preprocessing = click.option(
    "--preprocessing", type=click.Choice(["normalize", "zca", "none"]), help="What is done to images."
)
_augment = click.option(
    "--augment", help="dsa, families of it such as flip_crop, or none.  [default: as published, dsa]"
)


@click.group(
    cls=failures.Group,
    commands={"plot": plots.plot},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="trajfmt")
def main() -> None:
    """Distil datasets by matching training trajectories.

    \b
    Exit codes: 0 done, 1 a check failed, 2 wrong usage, 3 not a bundle or a
    result, or an unknown feature, 4 corrupt, 5 unsafe, 130 interrupted.
    """


@main.command()
@click.option(
    "--dataset",
    required=True,
    help="digits, CIFAR10, CIFAR100, Tiny, MNIST, FashionMNIST, or the path of an .npz or .safetensors "
    "file or of a folder of images.",
)
@options.data
@click.option("--image-size", type=int, help="Scale the images of a folder to this size.")
@click.option(
    "--out",
    type=options.PATH,
    required=True,
    help="OUT.mct (convex), OUT.mtt (full), or the root folder of buffers in MTT's layout.",
)
@click.option(
    "--model",
    help="Like ConvNetD3W128, ResNet18, or package.module:factory.  [default: what suits the dataset]",
)
@_preprocessing
@_augment
@click.option("--experts", type=int, help="Number of experts.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option("--lr", type=float, help="Step size of SGD.")
@click.option(
    "--lr-decay", is_flag=True, default=None, help="A tenth of it after half of the epochs, as MTT's --decay."
)
@click.option("--momentum", type=float, help="Momentum of SGD.")
@click.option("--weight-decay", type=float, help="L2 penalty of SGD.")
@click.option("--batch-size", type=int, help="Images per step.")
@click.option("--steps-per-timestep", type=int, help="Record weights every so many steps, not every epoch.")
@click.option("--knots", type=options.INTEGERS, default=(), help="Waypoints to keep in OUT.mct, like 6,25.")
@click.option("--smooth", is_flag=True, help="Average knots with their neighbours, as the authors' code.")
@_seed
@_device
def experts(
    dataset: str,
    data: Path | None,
    out: Path,
    model: str | None,
    preprocessing: str | None,
    device: str,
    **settings: Any,
) -> None:
    """Train experts on real images and record their trajectories.

    Into OUT.mct they are convexified while they are trained: the full trajectories never exist. Run again
    after an interruption, the same command continues from the finished experts.
    """
    from mct.allocator import keep_memory
    from mct.experts import ExpertRun

    from . import render_mct

    keep_memory()
    run = ExpertRun.prepare(
        dataset, out, model=model, preprocessing=preprocessing, root=data, device=device, **settings
    )
    render_mct.experts(run)


@main.command()
@click.option("--traj", type=options.PATH, required=True, help="A bundle: convex (.mct) or full (.mtt).")
@click.option("--out", type=options.PATH, help="Folder of the run.  [default: NAME-distilled for NAME.mct]")
@click.option("--resume", is_flag=True, help="Continue the run in the folder, with its settings.")
@click.option("--preset", help="Published settings by name: see mct presets.")
@click.option("--dataset", help="Where the bundle names none, or the path of its file.")
@options.data
@click.option("--model", help="Where the bundle does not know it, like ConvNetD3W128.")
@_preprocessing
@_augment
@click.option("--ipc", type=int, help="Images per class.")
@click.option("--steps", "inner_steps", type=int, help="N: student updates per outer step.")
@click.option("--expert-steps", type=float, help="M: timesteps from start to target.")
@click.option("--max-start", type=float, help="Starts are drawn below it, in timesteps.")
@click.option(
    "--sampling",
    type=click.Choice(["auto", "continuous", "discrete"]),
    help="Real or whole starts.  [default: continuous from a .mct, discrete from a .mtt]",
)
@click.option(
    "--gradient",
    type=click.Choice(["exact", "tesla"]),
    help="tesla: the biased gradient of TESLA's and the MCT authors' code.  [default: exact]",
)
@click.option(
    "--labels",
    type=click.Choice(["hard", "teacher"]),
    help="teacher: what the expert at the target says of the images.  [default: hard]",
)
@click.option("--outer-steps", type=int, help="Updates of the synthetic images.")
@click.option("--lr-img", type=float, help="Step size of the images.")
@click.option("--lr-lr", type=float, help="Step size of the learned learning rate.")
@click.option("--lr-init", type=float, help="Learning rate that the student starts with.")
@click.option("--batch-syn", type=int, help="Synthetic images per inner step.  [default: all]")
@click.option("--eval-every", type=int, help="Evaluate after every so many outer steps, and keep the best.")
@click.option(
    "--select",
    type=click.Choice(["heldout", "test"]),
    help="Evaluate and choose on a tenth of the training images, or on the test set as published numbers "
    "do.  [default: heldout]",
)
@click.option("--eval-networks", type=int, help="Fresh networks of an evaluation.  [default: 5]")
@click.option("--eval-epochs", type=int, help="Passes over the images in an evaluation.  [default: 1000]")
@click.option("--save-every", type=int, help="Save after every so many outer steps.")
@_seed
@_device
def distill(
    traj: Path,
    out: Path | None,
    resume: bool,
    preset: str | None,
    dataset: str | None,
    data: Path | None,
    model: str | None,
    preprocessing: str | None,
    eval_networks: int | None,
    eval_epochs: int | None,
    device: str,
    **settings: Any,
) -> None:
    """Distil a dataset from a bundle of trajectories.

    Dataset, model and preprocessing come from the bundle; settings that are not given are the published
    ones for dataset and --ipc (mct presets): MCT's for a .mct, MTT's for a .mtt. Ctrl-C keeps the state,
    and --resume continues from it.
    """
    from dataclasses import asdict

    import trajfmt
    from mct import recipes
    from mct.allocator import keep_memory
    from mct.distill import Distiller
    from mct.evaluate import Comparison
    from mct.folder import RunFolder

    from . import render_mct

    keep_memory()

    folder = RunFolder(out or Path(f"{traj.resolve().stem}-distilled"))
    if not resume:
        folder.check_free()
    before = folder.origin() if resume else None
    with trajfmt.open(traj, verify=True) as bundle:
        distiller = Distiller.from_bundle(
            bundle,
            dataset=dataset,
            model=model,
            device=device,
            preprocessing=preprocessing,
            root=data,
            base=before and before.config,
            preset=preset,
            **settings,
        )
        evaluation = None
        if not resume or (eval_networks, eval_epochs) != (None, None):
            evaluation = recipes.evaluate_config(
                distiller.dataset.name,
                base=before and before.evaluation,
                networks=eval_networks,
                epochs=eval_epochs,
                augment=settings["augment"],
                seed=settings["seed"],
            )
        render_mct.distillation(distiller, folder, resume=resume, evaluation=evaluation)
    best = folder.chosen()
    comparison = None
    if best and best.selected and best.selected.on == "heldout" and best.evaluation:
        comparison = Comparison.prepare(
            folder.best, dataset=dataset, model=model, root=data, device=device, **asdict(best.evaluation)
        )
    render_mct.chosen(folder, best and best.selected, comparison)


@main.command()
@click.argument("result", type=options.PATH)
@click.option("--dataset", help="Path of the dataset's file, where it was one.")
@options.data
@click.option("--model", help="Another network than the one that was matched.")
@click.option("--cross", is_flag=True, help="Also train ConvNet, AlexNet, VGG11 and ResNet18.")
@_augment
@click.option("--networks", type=int, help="Fresh networks to train.  [default: 5]")
@click.option("--epochs", type=int, help="Passes over the images.")
@click.option(
    "--baseline/--no-baseline",
    default=True,
    show_default=True,
    help="Compare with random real images, as many per class.",
)
@options.as_json
@_seed
@_device
def evaluate(
    result: Path,
    dataset: str | None,
    data: Path | None,
    model: str | None,
    cross: bool,
    baseline: bool,
    as_json: bool,
    device: str,
    **settings: Any,
) -> None:
    """Train fresh networks on a distilled dataset (file or run folder) and test them."""
    from mct.allocator import keep_memory
    from mct.evaluate import Comparison

    from . import render_mct

    keep_memory()

    comparison = Comparison.prepare(
        result, dataset=dataset, model=model, root=data, device=device, **settings
    )
    render_mct.evaluation(comparison, baseline=baseline, cross=cross, as_json=as_json)


@main.command()
@click.option("--dataset", help="Only those of a dataset.")
@options.as_json
def presets(dataset: str | None, as_json: bool) -> None:
    """Print the published settings by name, each with its source."""
    from . import render_mct

    render_mct.presets(dataset, as_json=as_json)


@main.command()
@click.option(
    "--out", type=options.PATH, default=Path("demo-out"), show_default=True, help="Folder for all files."
)
@click.option("--force", is_flag=True, help="Replace the folder of an earlier demo.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
def demo(out: Path, force: bool, seed: int) -> None:
    """Distil handwritten digits: experts, convert, inspect, distill, evaluate (about a minute)."""
    from . import demo as steps

    steps.run(out, force=force, seed=seed)
