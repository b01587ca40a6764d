"""Where a run learns how difficult the training images are: from a file, or from the experts of a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from mct.data import difficulty
from mct.data.datasets import Dataset
from mct.data.difficulty import Order
from mct.errors import ConfigError
from mct.experts import el2n
from mct.experts.curriculum import SCHEDULE
from mct.models.el2n import NAME
from mct.runtime.ranks import Ranks, together


class Difficulty(Protocol):
    """The order of the training images of each class, and where it comes from."""

    @property
    def facts(self) -> Mapping[str, str | int]:
        """What a bundle records about the order; it identifies the order."""
        ...

    def order(self) -> Order:
        """Return the images of each class, the easiest first. This may take a while."""
        ...


@dataclass(frozen=True, slots=True)
class Filed:
    """The order that a file states, see `mct.data.difficulty.read`."""

    name: str
    """Name of the file."""

    found: Order
    """The order."""

    @property
    def facts(self) -> Mapping[str, str | int]:
        """Return what a bundle records: the name of the file, and the hash of the order."""
        return {"scores": self.name, "scores_sha256": difficulty.digest(self.found)}

    def order(self) -> Order:
        """Return the order."""
        return self.found


def check(curriculum: str | None, scores: str | Path | None, scores_from: str | Path | None) -> None:
    """Require a curriculum with its scores, or neither.

    Raises:
        ConfigError: If one of them is missing, or would have no effect.
    """
    if curriculum is None:
        if scores is not None or scores_from is not None:
            raise ConfigError(
                f"`{'scores_from' if scores is None else 'scores'}` has no effect without `curriculum`; set "
                "`curriculum` to pad, or leave it out"
            )
    elif scores is None:
        raise ConfigError(
            f"`curriculum` {curriculum} needs the difficulty of the images; set `scores` to a file, or to "
            f"{NAME} with a bundle as `scores_from`"
        )
    elif scores == NAME and scores_from is None:
        raise ConfigError(
            f"`scores` {NAME} are computed from the experts of a bundle; name it with `scores_from`"
        )
    elif scores != NAME and scores_from is not None:
        raise ConfigError(f"`scores_from` is for `scores` {NAME}, but `scores` is {scores}; leave one out")


def chosen(
    dataset: Dataset,
    *,
    scores: str | Path | None,
    scores_from: str | Path | None,
    **about: Any,
) -> Difficulty | None:
    """Return where the order of the images comes from; None without scores.

    Args:
        dataset: The real dataset.
        scores: A file, see `mct.data.difficulty.read`, or `el2n`.
        scores_from: The bundle with whose experts `el2n` are computed; None for a file.
        **about: What `mct.experts.el2n.of_bundle` takes besides.

    Raises:
        ConfigError: If the experts of the bundle have no such scores.
        DataError: If the file cannot be read, or is for other images.
        MismatchError: If the bundle is of another dataset.
    """
    if scores_from is not None:
        return el2n.of_bundle(scores_from, dataset, **about)
    if scores is None:
        return None
    path = Path(scores)
    return Filed(path.name, difficulty.read(path, dataset.train_labels, dataset.classes))


def recorded(found: Difficulty | None) -> dict[str, str | int] | None:
    """Return what a bundle records about a curriculum besides its name; None without one."""
    return None if found is None else {"curriculum_schedule": SCHEDULE, **found.facts}


def shared(found: Difficulty, dataset: Dataset, ranks: Ranks) -> Order:
    """Return the order, which rank 0 finds, in all processes. All of them must make this call.

    Raises:
        RankError: If it failed in another process.
    """
    order = torch.zeros(len(dataset.train_labels), dtype=torch.int64)
    with together(ranks):
        if ranks.rank == 0:
            order = torch.cat(found.order())
    ranks.sum(order)  # all other processes contribute zeros
    sizes: list[int] = dataset.train_labels.bincount(minlength=dataset.classes).tolist()
    return torch.split(order, sizes)
