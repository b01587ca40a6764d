"""The headings under which the help of a command with many options lists them.

A table names every option of its command once, in the order of the help. `commands.Command` adds the options
that all commands have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import click

__all__ = ["DISTILL", "EVALUATE", "EXPERTS", "OTHER", "Sections", "divided"]

Sections = Mapping[str, Sequence[str]]
"""The flags of each section, by its heading."""

OTHER: Final = "Other options"
"""The heading of the options that no section names."""

DISTILL: Final[Sections] = {
    "Data, method and result": (
        *("--traj", "--trajectories", "--dataset", "--data", "--model", "--preprocessing"),
        *("--method", "--preset", "--out", "--resume"),
    ),
    "Distilled images": (
        *("--ipc", "--initial", "--scores", "--skip-hardest", "--learned-share", "--image-average"),
        *("--after", "--earlier-images"),
    ),
    "Labels": ("--labels", "--label-time", "--label-form", "--lr-label", "--label-momentum"),
    "Start and target on a trajectory": (
        *("--expert-steps", "--max-start", "--min-start", "--ramp-from", "--ramp-steps", "--sampling"),
        "--start-noise",
    ),
    "Inner loop": (
        *("--steps", "--min-steps", "--steps-every", "--batch-syn", "--sampler", "--augment", "--lr-init"),
        *("--inner-optimizer", "--inner-momentum", "--inner-decay", "--window", "--gradient"),
    ),
    "Loss": (
        *("--end", "--drop", "--drop-by", "--loss-threshold"),
        *("--objective", "--real-batch", "--fresh-starts"),
    ),
    "Outer loop": (
        *("--outer-steps", "--samples", "--outer-optimizer", "--lr-img", "--lr-img-halving", "--lr-lr"),
        "--clip-average",
    ),
    "Methods without experts (DC, DSA, DM and CAFE)": (
        *("--class-batch", "--lr-net", "--net-batch", "--matches", "--passes", "--halve-at"),
        *("--early-weight", "--late-weight", "--discrimination", "--stop-matching", "--stop-training"),
    ),
    "Evaluation": (
        *("--eval-every", "--select", "--eval-protocol", "--eval-networks", "--eval-epochs", "--eval-batch"),
    ),
    "Files and logs": ("--save-every", "--snapshot-every", "--log", "--profile"),
    "Computation": (
        *("--device", "--seed", "--deterministic", "--engine", "--precision", "--shard"),
        *("--knots-mb", "--keep-mb", "--step-images"),
    ),
}

EXPERTS: Final[Sections] = {
    "Data and result": (
        *("--dataset", "--data", "--image-size", "--limit", "--preprocessing", "--out"),
        *("--steps-per-timestep", "--knots", "--smooth", "--average"),
    ),
    "Training": (
        *("--model", "--experts", "--epochs", "--batch-size", "--lr", "--lr-decay", "--momentum"),
        *("--weight-decay", "--augment", "--sharpness", "--surrogate-gap"),
        *("--curriculum", "--scores", "--scores-from", "--start-from"),
    ),
    "Computation": (
        *("--device", "--seed", "--deterministic", "--at-once", "--only", "--slurm", "--save-minutes"),
    ),
}

EVALUATE: Final[Sections] = {
    "Distilled images": ("--from", "--experiment", "--trust-pickle"),
    "Facts that the files may not state": (
        *("--dataset", "--data", "--preprocessing", "--mean", "--std", "--model", "--lr"),
    ),
    "Evaluation": (
        *("--protocol", "--networks", "--epochs", "--augment", "--cross", "--per-class", "--baseline"),
        *("--reference", "--reference-epochs", "--json"),
    ),
    "Scores of DD-Ranking (--protocol dd-ranking)": ("--labels", "--soft-loss", "--temperature"),
    "Computation": ("--device", "--seed", "--deterministic"),
}


def divided(
    sections: Sections, params: Sequence[click.Parameter]
) -> Iterator[tuple[str, list[click.Option]]]:
    """Yield the heading and the options of every section.

    Options that no section names come last, under the heading `OTHER`. Without sections, all options are
    under the heading `Options`.

    >>> options = [click.Option(["--seed"]), click.Option(["--steps"])]
    >>> found = divided({"Inner loop": ["--steps"]}, options)
    >>> [(heading, [option.name for option in own]) for heading, own in found]
    [('Inner loop', ['steps']), ('Other options', ['seed'])]
    """
    left = {option.opts[-1]: option for option in params if isinstance(option, click.Option)}
    for heading, flags in sections.items():
        yield heading, [left.pop(flag) for flag in flags]
    if left:
        yield OTHER if sections else "Options", list(left.values())
