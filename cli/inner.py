"""The options of the inner loop: its optimiser, its window, and a number of steps that is drawn."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["optimizer", "steps"]

_OPTIMIZER = (
    click.option(
        "--inner-optimizer",
        type=click.Choice(["sgd", "adam"]),
        help="Optimiser of the student in the inner loop; evaluations have their own.  [default: sgd]",
    ),
    click.option("--inner-momentum", type=float, help="Momentum of sgd in the inner loop.  [default: 0]"),
    click.option("--inner-decay", type=float, help="Weight decay in the inner loop.  [default: 0]"),
    click.option(
        "--window",
        type=int,
        help="Number of student updates, the last ones of an outer step, that the gradient goes through.  "
        "[default: all]",
    ),
)

_STEPS = (
    click.option(
        "--min-steps",
        type=int,
        help="Smallest number of student updates; the number is drawn from this one to --steps.  "
        "[default: always --steps]",
    ),
    click.option(
        "--steps-every",
        type=int,
        help="Number of consecutive outer steps that share a drawn number of updates (--min-steps).  "
        "[default: 1]",
    ),
)


def optimizer(command: Any) -> Any:
    """Add the options that say how the student is updated, and through which updates the gradient goes."""
    for option in reversed(_OPTIMIZER):
        command = option(command)
    return command


def steps(command: Any) -> Any:
    """Add the options that say how the number of updates is drawn."""
    for option in reversed(_STEPS):
        command = option(command)
    return command
