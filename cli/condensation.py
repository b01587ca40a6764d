"""The options of `mct distill` for the methods that need no trajectories: DC, DSA, DM and CAFE."""

from __future__ import annotations

from typing import Any

import click

from . import values

__all__ = ["settings"]

_OPTIONS = (
    click.option(
        "--class-batch",
        type=int,
        help="DC, DSA, DM, CAFE: real images of each class in an update of the images.  [default: 256]",
    ),
    click.option(
        "--lr-net",
        type=float,
        help="DC, DSA, CAFE: learning rate of the network that is trained on the images.  [default: 0.01]",
    ),
    click.option(
        "--net-batch", type=int, help="DC, DSA, CAFE: images per step of that network.  [default: 256]"
    ),
    click.option(
        "--matches",
        type=int,
        help="DC, DSA: updates of the images with one network; CAFE: the largest number of them.  "
        "[default: as published for --ipc; CAFE: 100]",
    ),
    click.option(
        "--passes",
        type=int,
        help="DC, DSA: passes of the network over the images between two updates; CAFE: the largest number "
        "of them.  [default: as published for --ipc; CAFE: 200]",
    ),
    click.option(
        "--early-weight",
        type=float,
        help="CAFE: weight of the features of all blocks but the last.  [default: 0.1]",
    ),
    click.option(
        "--late-weight", type=float, help="CAFE: weight of the features of the last block.  [default: 1]"
    ),
    click.option(
        "--discrimination", type=float, help="CAFE: weight of the discrimination loss.  [default: 0.01]"
    ),
    click.option(
        "--stop-matching",
        type=float,
        help="CAFE: range of ten accuracies below which the next network begins.  [default: 0.04]",
    ),
    click.option(
        "--stop-training",
        type=float,
        help="CAFE: range of ten accuracies above which the images are updated.  [default: 0.03]",
    ),
    click.option(
        "--halve-at",
        type=values.INTEGERS,
        help="CAFE: outer steps after which --lr-img is halved.  [default: 1200,1600,1800]",
    ),
)


def settings(command: Any) -> Any:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
