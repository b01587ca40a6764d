"""Show what `mct evaluate` finds with a reference network: DD-Ranking's scores, and a teacher's baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import accuracies, failures, lines, progress, values

if TYPE_CHECKING:
    from mct.evaluation.comparison import Comparison
    from mct.evaluation.ranking import Ranked, Ranking
    from mct.evaluation.reference import Reference
    from mct.evaluation.scores import Measured
    from mct.events import Accuracy

__all__ = ["SETTINGS", "options", "ranking", "teacher_baseline"]

Command = TypeVar("Command", bound=Callable[..., Any])

SETTINGS = ("protocol", "reference", "reference_epochs", "labels", "soft_loss", "temperature")
"""Parameters of `options`."""

_ROWS = (
    ("all real", "real", "hard labels"),
    ("distilled", "hard", "{hard}"),
    ("random real", "random_hard", "{hard}"),
    ("distilled", "own", "{own}"),
    ("random real", "random", "{own}"),
    ("distilled", "plain", "{own}, not augmented"),
    ("random real", "random_plain", "{own}, not augmented"),
)
"""The accuracies of a table: what a network is trained on, the field of `Measured`, and the labels."""

_SCORES = (
    ("HLR", "hlr", 100.0, "points, hard-label recovery: all real minus distilled; lower is better"),
    ("IOR", "ior", 100.0, "points, improvement over random; higher is better"),
    ("LRS", "lrs", 1.0, "label-robust score, from 0 to 1; higher is better"),
    ("ARS", "ars", 1.0, "augmentation-robust score, from 0 to 1; higher is better"),
)


def options(command: Command) -> Command:
    """Add the options for DD-Ranking's protocol and for the reference network."""
    for option in (
        click.option("--temperature", type=float, help="With dd-ranking: of sce and kl.  [default: 1]"),
        click.option(
            "--soft-loss",
            type=click.Choice(["sce", "kl", "mse_gt"]),
            help="With dd-ranking: loss on soft labels.  [default: sce]",
        ),
        click.option(
            "--labels",
            type=click.Choice(["auto", "hard", "soft", "teacher"]),
            help="With dd-ranking: evaluate with class numbers, the soft labels of the set, or the "
            "predictions of the reference network.  [default: auto, soft if the set has soft labels]",
        ),
        click.option(
            "--reference-epochs",
            type=click.IntRange(min=1),
            help="Passes over all real images to train the reference network.  [default: 200; digits: 40; "
            "Tiny: 100]",
        ),
        click.option(
            "--reference",
            type=values.PATH,
            metavar="FILE",
            help="The network trained on all real images: read if FILE exists, else trained and written.  "
            "[default: a file in the cache]",
        ),
        click.option(
            "--protocol",
            type=click.Choice(["mtt", "sequence", "rat", "selmatch", "dd-ranking"]),
            help="Accuracy as MTT measures it, after training on one stage of the images after the other, or "
            "as RaT-BPTT or SelMatch does; or the four scores of DD-Ranking.  [default: that of the run, "
            "else mtt]",
        ),
    ):
        command = option(command)
    return command


def ranking(
    comparison: Comparison, given: dict[str, Any], *, baseline: bool, as_json: bool, note: str | None
) -> None:
    """Evaluate by DD-Ranking's protocol, show progress, and print the scores.

    Args:
        comparison: the synthetic and the real dataset.
        given: values of the options; None for those that were not given.
        baseline: also evaluate random images with hard labels if no score needs it.
        as_json: print JSON.
        note: printed before the first network is trained.
    """
    from mct.evaluation.ranking import Ranking
    from mct.settings.ranking import ranking_config

    config = ranking_config(
        comparison.dataset.name,
        runs=given["networks"],
        epochs=given["epochs"],
        augment=given["augment"],
        seed=given["seed"],
        labels=given["labels"],
        loss=given["soft_loss"],
        temperature=given["temperature"],
    )
    job = Ranking(comparison=comparison, config=config, baseline=baseline)
    if note is not None and not comparison.ranks.rank:
        lines.notice(note)
    if config.augment == "none" and not comparison.ranks.rank:
        lines.notice("without augmentation, ARS compares the same twice; give --augment, such as dsa")
    reference = _reference(comparison, given)
    with progress.counted("networks", job.total, "network") as meter:
        found = progress.result(
            job.evaluate(reference),
            lambda network: meter.advance(note=f"accuracy {network.accuracy:.1%}"),
        )
    if comparison.ranks.rank:
        return
    if as_json:
        lines.record(_facts(job, found, reference))
    else:
        _table(job, found)


def teacher_baseline(comparison: Comparison, given: dict[str, Any]) -> Callable[[], Accuracy] | None:
    """Return what evaluates random real images with the labels of the reference network.

    Return None if the set has no soft labels. The reference network is loaded or trained at once.
    Without a file of the user, a reference network that is not in the cache is not trained, which takes long.
    """
    from mct.evaluation.reference import is_ready
    from mct.settings.ranking import reference_config

    if comparison.synthetic.soft_labels is None:
        for name in ("reference", "reference_epochs"):
            if given[name] is not None:
                failures.fail(
                    f"--{name.replace('_', '-')} is for sets with soft labels, and this one has class "
                    "numbers; omit it, or give --protocol dd-ranking",
                    2,
                )
        return None
    config = reference_config(comparison.dataset.name, epochs=given["reference_epochs"])
    if given["reference"] is None and not is_ready(comparison.dataset, comparison.model, config):
        if not comparison.ranks.rank:
            lines.notice(
                "random real images are evaluated with hard labels only; for a network's labels, as this "
                "set has soft ones, give --reference FILE, a network that is trained on all real images once"
            )
        return None
    reference = _reference(comparison, given)
    total = comparison.config.networks * len(comparison.rates)
    events = comparison.baseline(reference.probabilities)
    return lambda: accuracies.tested("random real, soft labels", total, events)


def _reference(comparison: Comparison, given: dict[str, Any]) -> Reference:
    """Load or train the reference network, and show progress."""
    from mct.evaluation.reference import obtain
    from mct.settings.ranking import reference_config

    path: Path | None = given["reference"]
    config = reference_config(comparison.dataset.name, epochs=given["reference_epochs"])
    events = obtain(comparison.dataset, comparison.model, config, path=path, ranks=comparison.ranks)
    with progress.counted("reference network", config.epochs, "epoch") as meter:
        return progress.result(
            events,
            lambda event: meter.update(event.epoch, note=f"accuracy {event.accuracy:.1%}"),
        )


def _facts(job: Ranking, found: Ranked, reference: Reference) -> dict[str, object]:
    """Return the object that is printed as JSON."""
    comparison = job.comparison
    std = None if found.std is None else dataclasses.asdict(found.std)
    return {
        "protocol": "dd-ranking",
        **accuracies.evaluated(comparison),
        "labels": job.labels,
        "learning_rate": comparison.synthetic.learning_rate,
        "config": dataclasses.asdict(job.config),
        "reference": {"accuracy": reference.accuracy, "config": dataclasses.asdict(reference.config)},
        "scores": {"mean": dataclasses.asdict(found.mean), "std": std},
        "runs": [dataclasses.asdict(run) for run in found.runs],
    }


def _table(job: Ranking, found: Ranked) -> None:
    """Print the accuracies and the scores."""
    synthetic, runs = job.comparison.synthetic, len(found.runs)
    count = len(synthetic.labels) if synthetic.ipc is None else synthetic.ipc
    each = f"{'image' if count == 1 else 'images'}{'' if synthetic.ipc is None else ' per class'}"
    lines.say(
        f"DD-Ranking on {synthetic.origin.dataset}: {count} {each}, {runs} {'run' if runs == 1 else 'runs'}"
    )
    own = {"hard": "hard labels", "soft": "soft labels", "teacher": "a teacher's labels"}[job.labels]
    hard = "hard labels" if job.labels == "hard" else "hard labels, not augmented"
    for what, name, labels in _ROWS:
        if job.labels == "hard" and name in ("own", "random"):
            continue  # the same networks as `hard` and `random_hard`
        shown = _mean_and_std(found.runs, name)
        if shown is not None:
            lines.say(f"  {what:<12} {shown}  ({labels.format(own=own, hard=hard)})")
    for title, name, scale, meaning in _SCORES:
        digits = 1 if scale == 100 else 3
        shown = f"{scale * getattr(found.mean, name):6.{digits}f}"
        if found.std is not None:
            shown += f" ± {scale * getattr(found.std, name):.{digits}f}"
        lines.say(f"  {title:<12} {shown}  ({meaning})")


def _mean_and_std(runs: tuple[Measured, ...], name: str) -> str | None:
    """Return an accuracy over runs as text, or None if it was not measured."""
    import statistics

    measured = [getattr(run, name) for run in runs]
    if None in measured:
        return None
    mean = f"{statistics.fmean(measured):6.1%}"
    return mean if len(measured) == 1 else f"{mean} ± {statistics.pstdev(measured):.1%}"
