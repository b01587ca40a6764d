"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from . import failures, values

__all__ = ["as_json", "check_output", "data", "force", "reading", "words"]


class _Source:
    """Options that say how to read a source, for `traj convert` and `traj inspect`."""

    layout = click.option(
        "--from",
        "layout",
        metavar="NAME",
        help="File layout of the source, to override detection. `traj sources` lists the names.",
    )
    select = click.option(
        "--select",
        metavar="PATTERN",
        help="Use only the checkpoints whose path below the source matches, such as 'epoch_*.pth' or "
        "'*/model_1.safetensors'. {step} or {epoch} says what a number is, as in 'gpt2_{step}.pt'.",
    )
    key = click.option(
        "--key",
        help="Key of the weights in each checkpoint, if it holds several, such as ema or ema.shadow; . for"
        " all together, ^ema for all but these.",
    )
    buffer_names = click.option(
        "--buffer",
        "buffer_names",
        metavar="PATTERN",
        multiple=True,
        help="Treat tensors whose names match as module buffers, such as '*.mask'. May be repeated.",
    )
    trust_pickle = click.option(
        "--trust-pickle",
        is_flag=True,
        help="Unpickle without restriction. This can run arbitrary code from the files.",
    )


def reading(command: Any) -> Any:
    """Add the options that say how to read a source."""
    for option in (_Source.trust_pickle, _Source.buffer_names, _Source.key, _Source.select, _Source.layout):
        command = option(command)
    return command


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
data = click.option(
    "--data", type=values.INPUT, help="Folder with the files of the data set.  [default: data]"
)
force = click.option("--force", is_flag=True, help="Replace an existing file.")
device = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Torch device, such as cpu or cuda. auto is the first GPU, or the CPU if there is none.",
)
deterministic = click.option(
    "--deterministic",
    is_flag=True,
    help="Use deterministic algorithms on a GPU. Runs are slower, but give the same bits (docs/gpu.md).",
)
seed = click.option("--seed", type=int, help="Seed of all random numbers.  [default: 0]")
preprocessing = click.option(
    "--preprocessing",
    type=click.Choice(["normalize", "zca", "unit-zca", "none"]),
    help="How real images are transformed before a network receives them.",
)
augment = click.option(
    "--augment",
    help="Augmentation: dsa, some of its transformations such as flip_crop, or none.  [default: dsa, as "
    "published]",
)


def words(ctx: click.Context, *, but: Collection[str] = ()) -> list[str]:
    """Return a command and the options that were given, as words of a command line.

    Args:
        ctx: The command, which has no arguments.
        but: Names of parameters to leave out.
    """
    found = [ctx.info_name or ""]
    for param in ctx.command.params:
        name, value = param.name or "", ctx.params.get(param.name or "")
        default = ctx.get_parameter_source(name) == click.core.ParameterSource.DEFAULT
        if not default and name not in but:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            found += [param.opts[0]] if value is True else [param.opts[0], text]
    return found


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a destination that cannot be written, before any work is done."""
    if path.is_dir() or (path.exists() and not force):
        failures.fail(f"{path} exists; choose another name with -o, or pass --force", 2)
    if not path.absolute().parent.is_dir():
        failures.fail(f"{path.absolute().parent}: no such folder; create it first", 2)
