"""Labels as logits: a row y of K numbers per image, whose softmax q is the label (DATM)."""

from torch import Tensor


def probabilities(logits: Tensor) -> Tensor:
    """Return the labels `(N, K)` of logits `(N, K)`."""
    return logits.softmax(1)


def gradient(labels: Tensor, slope: Tensor) -> Tensor:
    """Return the gradient of a loss in the logits: q (d - <q, d>) by rows, for the gradient d in the labels.

    Args:
        labels: q `(N, K)`, as `probabilities` returned them.
        slope: d `(N, K)`: the gradient in each label, every label being free of the others.

    Returns:
        d loss / d logits, `(N, K)`.
    """
    return labels * (slope - (labels * slope).sum(1, keepdim=True))
