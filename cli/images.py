"""The commands on distilled images of any codebase: `mct evaluate`, `mct convert-images` and `mct sets`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import commands, failures, options, process, ranking, sections, values

__all__ = ["convert_images", "evaluate", "sets"]

Command = TypeVar("Command", bound=Callable[..., Any])

_FACTS = ("dataset", "preprocessing", "mean", "std", "model", "lr")


def _reading(command: Command) -> Command:
    """Add the options for how files are read."""
    for option in (
        click.option(
            "--trust-pickle",
            is_flag=True,
            help="Run the code that a pickle asks for; only for files that you trust.",
        ),
        click.option(
            "--experiment",
            type=int,
            help="Which experiment to read, counted from 0, if a file holds several.",
        ),
        click.option("--from", "layout", metavar="NAME", help="The layout of the files; see mct sets."),
    ):
        command = option(command)
    return command


def _facts(command: Command) -> Command:
    """Add the options for facts that files do not state."""
    for option in (
        click.option(
            "--lr", type=float, help="The learning rate, if the files state none, or one to use instead."
        ),
        click.option("--model", help="The network, if the files name none, or another one."),
        click.option(
            "--std", type=values.NUMBERS, help="Standard deviation for normalize, one number a channel."
        ),
        click.option(
            "--mean",
            type=values.NUMBERS,
            help="Mean for normalize, one number a channel, if not the usual one.",
        ),
        options.preprocessing,
        options.data,
        click.option("--dataset", type=values.DATASET, help="Dataset name or path, if the files name none."),
    ):
        command = option(command)
    return command


@click.command(cls=commands.Command, sections=sections.EVALUATE)
@click.argument("result", type=values.INPUT)
@_facts
@_reading
@click.option(
    "--cross",
    is_flag=True,
    help="Also evaluate with those of ConvNet, AlexNet, VGG11 and ResNet18 that take images of this size.",
)
@ranking.options
@options.augment
@click.option(
    "--networks",
    type=int,
    help="Number of fresh networks to train; with dd-ranking, the number of runs.  [default: 5]",
)
@click.option("--epochs", type=int, help="Passes over the distilled images.  [default: 1000; digits: 300]")
@click.option(
    "--baseline/--no-baseline",
    default=True,
    show_default=True,
    help="Compare with the same number of random real images per class.",
)
@click.option("--per-class", is_flag=True, help="Also print the accuracy of every class.")
@options.as_json
@options.seed
@options.deterministic
@options.device
def evaluate(
    result: Path,
    data: Path | None,
    cross: bool,
    baseline: bool,
    per_class: bool,
    as_json: bool,
    deterministic: bool,
    device: str,
    **settings: Any,
) -> None:
    """Train fresh networks on distilled images and test them.

    RESULT is the folder of a run, its .safetensors file, or the files of another codebase; mct sets prints
    which. If the files do not state a fact that is needed, an error names the option for it.

    With --protocol dd-ranking, the four scores of DD-Ranking are printed. They need a network that is trained
    on all real images, the reference, which is kept for later evaluations.
    """
    from mct.evaluation.comparison import Comparison
    from mct.runtime.ranks import joined, together

    from . import accuracies, lines, progress

    given = {name: settings[name] for name in ("networks", "epochs", "augment", "seed")}
    given |= {name: settings.pop(name) for name in ranking.SETTINGS}
    _check_protocol(given, cross=cross, baseline=baseline, per_class=per_class)
    process.settle(deterministic=deterministic)
    with joined(device, notes=lines.notice) as (ranks, here):
        with together(ranks), progress.phases("evaluate"):
            comparison = Comparison.prepare(
                result,
                root=data,
                device=here,
                ranks=ranks,
                notes=lines.Notes(),
                protocol="mtt" if given["protocol"] == "dd-ranking" else given["protocol"],
                **settings,
            )
        note = process.device_note(device, here)
        if given["protocol"] == "dd-ranking":
            ranking.ranking(comparison, given, baseline=baseline, as_json=as_json, note=note)
            return
        names = comparison.crossed() if cross else ()  # before anything is trained
        soft = ranking.teacher_baseline(comparison, given) if baseline else None
        accuracies.evaluation(
            comparison,
            baseline=baseline,
            soft=soft,
            cross=names,
            per_class=per_class,
            as_json=as_json,
            note=note,
        )


def _check_protocol(given: dict[str, Any], *, cross: bool, baseline: bool, per_class: bool) -> None:
    """Refuse options that the protocol would ignore."""
    if given["protocol"] == "dd-ranking":
        if per_class:
            failures.fail("--per-class is not part of --protocol dd-ranking; omit one of them", 2)
        if cross:
            failures.fail("--cross is not part of --protocol dd-ranking; give --model for another network", 2)
        return
    for name in ("labels", "soft_loss", "temperature"):
        if given[name] is not None:
            failures.fail(f"--{name.replace('_', '-')} needs --protocol dd-ranking", 2)
    for name in ("reference", "reference_epochs"):
        if given[name] is not None and not baseline:
            option = f"--{name.replace('_', '-')}"
            failures.fail(
                f"{option} is for the baseline, which --no-baseline leaves out; omit one of them", 2
            )


@click.command("convert-images", cls=commands.Command)
@click.argument("source", type=values.INPUT)
@click.argument("dest", type=values.PATH)
@_reading
@click.option("--to", metavar="NAME", help="The layout to write.  [default: by the suffix of DEST]")
@click.option("--classes", type=int, help="Number of classes. Needed if class numbers are to become logits.")
@_facts
def convert_images(source: Path, dest: Path, data: Path | None, **settings: Any) -> None:
    """Convert distilled images to the file layout of another codebase.

    DEST must not exist. It is NAME.safetensors for mct's own file, which needs every fact and the dataset,
    NAME.npz for arrays, and a folder or a file for the other layouts.
    """
    from mct import sets as layouts

    from . import lines

    user = layouts.UserFacts(**{fact: settings.pop(fact) for fact in _FACTS})
    layouts.convert_images(source, dest, user=user, root=data, notes=lines.Notes(), **settings)
    lines.done(dest)


@click.command(cls=commands.Command)
@options.as_json
def sets(as_json: bool) -> None:
    """List the file layouts of distilled images that can be read."""
    from mct.sets.table import LAYOUTS

    from . import lines

    for layout in LAYOUTS:
        facts = {"name": layout.name, "title": layout.title, "files": layout.files}
        if as_json:
            lines.record(facts)
        else:
            lines.say(f"{layout.name:<13} {layout.title}")
            lines.say(f"{'':<13} {layout.files}")
