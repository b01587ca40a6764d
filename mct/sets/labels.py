"""Converting between kinds of labels of distilled images: class numbers, probabilities and logits."""

from typing import Final

import torch
from torch import Tensor

from mct.errors import ConfigError, MismatchError
from mct.results.origin import Meaning

SUM_TOLERANCE: Final = 1e-3
"""Largest difference from 1 of the sum of float32 or float16 probabilities."""

_NEVER: Final = -200.0
"""Logit of a class with probability 0. Its exponential is 0 in float32, if the largest logit is near 0."""


def is_distribution(rows: Tensor) -> bool:
    """Return whether every row of `rows` `(N, K)` has values in [0, 1] that sum to 1."""
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    return inside and bool(((rows.double().sum(1) - 1).abs() < SUM_TOLERANCE).all())


def probabilities(rows: Tensor, meaning: Meaning) -> Tensor:
    """Convert labels `(N, K)` that are probabilities or logits to float32 probabilities `(N, K)`.

    Raises:
        MismatchError: If the labels are neither.
    """
    match meaning:
        case "probabilities":
            return rows
        case "logits":
            return rows.double().softmax(1).float()
    raise MismatchError(f"the labels are {meaning}, and cannot be converted to probabilities")


def logits(rows: Tensor, meaning: Meaning, classes: int | None) -> Tensor:
    """Convert labels to logits whose softmax is the distribution that the labels describe.

    Args:
        rows: Labels, `(N,)` class numbers or `(N, K)`.
        meaning: Meaning of the labels.
        classes: Number of classes K, which is needed only for class numbers.

    Returns:
        Logits `(N, K)` float32.

    Raises:
        ConfigError: If the labels are class numbers and `classes` is None.
        MismatchError: If the labels are representations, or a class number is not less than `classes`.
    """
    match meaning:
        case "logits":
            return rows
        case "probabilities":
            return rows.double().log().clamp(min=_NEVER).float()
        case "classes":
            if classes is None:
                raise ConfigError(
                    "the labels are class numbers, and the files do not state the number of classes, which "
                    "logits need; give --classes"
                )
            if int(rows.max()) >= classes:
                raise MismatchError(f"a label is class {int(rows.max())}, but `classes` is {classes}")
            return torch.where(torch.nn.functional.one_hot(rows, classes) == 1, 0.0, _NEVER)
    raise MismatchError("the labels are representations, and cannot be converted to logits of classes")


def class_numbers(rows: Tensor, meaning: Meaning, who: str) -> Tensor:
    """Return labels for a layout that stores class numbers only.

    Args:
        rows: Labels.
        meaning: Meaning of the labels.
        who: Name of the layout or its codebase, for the error message.

    Returns:
        `rows`, which are class numbers `(N,)` int64.

    Raises:
        MismatchError: If the labels are not class numbers.
    """
    if meaning != "classes":
        raise MismatchError(
            f"{who} accepts class numbers only, but the labels are {meaning}; write another layout: "
            + ("datm, ddranking or mtt" if meaning != "representations" else "mkdt")
        )
    return rows
