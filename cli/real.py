"""Options of `mct distill` for the loss on real images, and for the parts that came with it (RaT-BPTT)."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["options"]

_OPTIONS = (
    click.option(
        "--objective",
        type=click.Choice(["matching", "real"]),
        help="What is minimised: the distance to an expert's weights, or the loss on real images.  "
        "[default: matching]",
    ),
    click.option(
        "--real-batch", type=int, help="Real images per sample (--objective real).  [default: 5000]"
    ),
    click.option(
        "--fresh-starts",
        type=float,
        help="Share of the samples that start as a fresh network instead of on a trajectory (--objective "
        "real); with 1, no --traj is needed.  [default: 0]",
    ),
    click.option(
        "--label-form",
        type=click.Choice(["logits", "rows"]),
        help="What learned labels are: logits, or rows of non-negative weights that begin as one-hot "
        "labels.  [default: logits]",
    ),
    click.option(
        "--clip-average",
        type=float,
        help="Decay of a running average of the norm of the images' gradient, which is then shortened to at "
        "most twice this average.  "
        "[default: no clipping]",
    ),
    click.option(
        "--sampler",
        type=click.Choice(["passes", "classes"]),
        help="How the images of an inner step are drawn: in shuffled passes, or evenly from the classes.  "
        "[default: passes]",
    ),
)


def options(command: Any) -> Any:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
