"""Labels of distilled images: class numbers, probabilities, logits, and the way between them."""

from typing import Final

import torch
from torch import Tensor

from mct.errors import ConfigError, MismatchError
from mct.results.origin import Meaning

_TOLERANCE: Final = 1e-3
"""By which the sum of float32 or float16 probabilities may miss 1."""

_NEVER: Final = -200.0
"""Logit of what has probability 0, beside others of at most 0: its exponential is 0 in float32."""


def is_distribution(rows: Tensor) -> bool:
    """Return whether every row of `(N, K)` lies in [0, 1] and sums to 1."""
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    return inside and bool(((rows.double().sum(1) - 1).abs() < _TOLERANCE).all())


def probabilities(rows: Tensor, meaning: Meaning) -> Tensor:
    """Return `(N, K)` float32 probabilities of labels that are probabilities or logits.

    Raises:
        MismatchError: They are neither.
    """
    match meaning:
        case "probabilities":
            return rows
        case "logits":
            return rows.double().softmax(1).float()
    raise MismatchError(f"labels that are {meaning} have no probabilities")


def logits(rows: Tensor, meaning: Meaning, classes: int | None) -> Tensor:
    """Return `(N, K)` float32 whose softmax is the distribution of the labels.

    Args:
        rows: Labels.
        meaning: What they are.
        classes: K; needed for class numbers only.

    Raises:
        ConfigError: Class numbers, and K is not known.
        MismatchError: The labels are no distributions, or a class number is K or above.
    """
    match meaning:
        case "logits":
            return rows
        case "probabilities":
            return rows.double().log().clamp(min=_NEVER).float()
        case "classes":
            if classes is None:
                raise ConfigError("the files hold class numbers, not how many classes there are: --classes")
            if int(rows.max()) >= classes:
                raise MismatchError(f"a label is class {int(rows.max())}, but `classes` is {classes}")
            return torch.where(torch.nn.functional.one_hot(rows, classes) == 1, 0.0, _NEVER)
    raise MismatchError("the labels are representations, not logits of classes, and cannot become any")


def class_numbers(rows: Tensor, meaning: Meaning, who: str) -> Tensor:
    """Return `(N,)` int64 for a codebase that takes class numbers only.

    Raises:
        MismatchError: The labels are something else.
    """
    if meaning != "classes":
        raise MismatchError(
            f"{who} takes class numbers only, and the labels are {meaning}; write a layout that holds them: "
            + ("datm, ddranking or mtt" if meaning != "representations" else "mkdt")
        )
    return rows
