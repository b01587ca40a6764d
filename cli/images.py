"""The commands on distilled images, ours and others': `mct evaluate`, `mct convert-images`, `mct sets`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import options, process

__all__ = ["convert_images", "evaluate", "sets"]

Command = TypeVar("Command", bound=Callable[..., Any])

_FACTS = ("dataset", "preprocessing", "mean", "std", "model", "lr")


def _reading(command: Command) -> Command:
    """Add the options that say how files are to be read."""
    for option in (
        click.option(
            "--trust-pickle", is_flag=True, help="Run what a pickle asks for: only from who you trust."
        ),
        click.option("--experiment", type=int, help="Of a file that holds several: which, from 0."),
        click.option("--from", "layout", metavar="NAME", help="The layout of the files: see mct sets."),
    ):
        command = option(command)
    return command


def _facts(command: Command) -> Command:
    """Add the options that say what files do not."""
    for option in (
        click.option("--lr", type=float, help="The step size."),
        click.option("--model", help="The network: another one than the file says, or where it says none."),
        click.option("--std", type=options.NUMBERS, help="And its standard deviation."),
        click.option(
            "--mean", type=options.NUMBERS, help="Of normalize, a number a channel, if not the usual."
        ),
        options.preprocessing,
        options.data,
        click.option("--dataset", help="Where the files name none, or the path of its file."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("result", type=options.PATH)
@_facts
@_reading
@click.option("--cross", is_flag=True, help="Also train ConvNet, AlexNet, VGG11 and ResNet18.")
@options.augment
@click.option("--networks", type=int, help="Fresh networks to train.  [default: 5]")
@click.option("--epochs", type=int, help="Passes over the images.")
@click.option(
    "--baseline/--no-baseline",
    default=True,
    show_default=True,
    help="Compare with random real images, as many per class.",
)
@options.as_json
@options.seed
@options.deterministic
@options.device
def evaluate(
    result: Path,
    data: Path | None,
    cross: bool,
    baseline: bool,
    as_json: bool,
    deterministic: bool,
    device: str,
    **settings: Any,
) -> None:
    """Train fresh networks on distilled images and test them.

    RESULT is the folder of a run or its .safetensors, or what another codebase wrote: mct sets prints which.
    What its files do not say is asked for.
    """
    from mct.evaluation.comparison import Comparison
    from mct.runtime.ranks import joined, together

    from . import accuracies, lines

    process.settle(deterministic=deterministic)
    with joined(device) as (ranks, here):
        with together(ranks):
            comparison = Comparison.prepare(
                result,
                root=data,
                device=here,
                ranks=ranks,
                notes=lines.Notes(),
                **settings,
            )
        note = process.device_note(device, here)
        accuracies.evaluation(comparison, baseline=baseline, cross=cross, as_json=as_json, note=note)


@click.command("convert-images")
@click.argument("source", type=options.PATH)
@click.argument("dest", type=options.PATH)
@_reading
@click.option("--to", metavar="NAME", help="The layout to write.  [default: by the suffix of DEST]")
@click.option("--classes", type=int, help="How many there are, where labels become logits.")
@_facts
def convert_images(source: Path, dest: Path, data: Path | None, **settings: Any) -> None:
    """Convert distilled images from one codebase's files to another's.

    DEST must not exist: NAME.safetensors for mct's own file, which needs every fact and the data set,
    NAME.npz for arrays, and for the other layouts a folder, or the file where they have one.
    """
    from mct import sets as layouts

    from . import lines

    user = layouts.UserFacts(**{fact: settings.pop(fact) for fact in _FACTS})
    layouts.convert_images(source, dest, user=user, root=data, notes=lines.Notes(), **settings)
    click.echo(str(dest))


@click.command()
@options.as_json
def sets(as_json: bool) -> None:
    """Print the layouts of distilled images that are known, whose they are, and their files."""
    import json

    from mct.sets.table import LAYOUTS

    for layout in LAYOUTS:
        facts = {"name": layout.name, "title": layout.title, "files": layout.files}
        if as_json:
            click.echo(json.dumps(facts, sort_keys=True))
        else:
            click.echo(f"{layout.name:<13} {layout.title}\n{'':<13} {layout.files}")
