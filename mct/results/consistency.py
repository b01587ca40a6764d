"""What the tensors and the origin of a stored synthetic dataset must fulfil together."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mct.errors import CorruptError
from mct.results.origin import ForeignOrigin, Origin
from mct.results.stages import fixed
from mct.settings.checks import LARGEST

if TYPE_CHECKING:
    from mct.results.synthetic import SyntheticDataset


def check(path: Path, found: "SyntheticDataset") -> None:
    """Check that the tensors and the origin of a stored dataset are consistent.

    Args:
        path: The file, for messages.
        found: Its content.

    Raises:
        CorruptError: If they are not.
    """
    images, labels, rate, origin = found.images, found.labels, found.learning_rate, found.origin
    classes, model = len(origin.class_names), origin.model
    if images.ndim != 4 or labels.shape != images.shape[:1] or len(labels) == 0:
        raise CorruptError(
            f"{path}: expected images (N, C, H, W) and labels (N,), found {tuple(images.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if images.dtype != torch.float32 or labels.dtype != torch.int64 or not bool(images.isfinite().all()):
        raise CorruptError(f"{path}: images must be finite float32, and labels int64")
    if not bool(((labels >= 0) & (labels < classes)).all()) or not 0 < rate <= LARGEST:
        raise CorruptError(
            f"{path}: labels must be 0 to {classes - 1}, and the learning rate a number > 0, found labels "
            f"{int(labels.min())} to {int(labels.max())} and the learning rate {rate:g}"
        )
    balanced = len(set(torch.bincount(labels, minlength=classes).tolist())) == 1
    _check_stages(path, origin, len(labels))
    if isinstance(origin, Origin) and not balanced:
        raise CorruptError(f"{path}: all classes must have the same number of images")
    rows, soft = found.soft_labels, found.probabilities
    if found.is_rows and (rows is None or not bool((rows.isfinite() & (rows >= 0)).all())):
        raise CorruptError(f"{path}: labels that are learned as rows must be finite and at least 0")
    if soft is not None and (
        soft.shape != (len(labels), classes)
        or soft.dtype != torch.float32
        or not bool(((soft >= 0) & (soft <= 1)).all() and ((soft.sum(1) - 1).abs() < 1e-3).all())
    ):
        raise CorruptError(
            f"{path}: soft labels must be {len(labels)} float32 distributions over {classes} classes"
        )
    logits = found.label_logits
    if logits is not None and (
        soft is None
        or logits.shape != soft.shape
        or logits.dtype != torch.float32
        or not bool(((logits.softmax(1) - soft).abs() < 1e-3).all())
    ):
        raise CorruptError(f"{path}: the softmax of the label logits must be the soft labels")
    wanted = (model.channels, model.image_size, model.image_size, model.classes)
    if wanted != (*images.shape[1:], classes):
        raise CorruptError(
            f"{path}: expected a model for images {tuple(images.shape[1:])} and {classes} classes, found one "
            f"for {wanted[:3]} and {model.classes}"
        )


def _check_stages(path: Path, origin: Origin | ForeignOrigin, images: int) -> None:
    """Check that earlier stages have some images, and the last one, too.

    Raises:
        CorruptError: If they do not.
    """
    for stage in origin.stages if isinstance(origin, Origin) else ():
        if stage.images < 1 or not 0 < stage.learning_rate <= LARGEST:
            raise CorruptError(
                f"{path}: an earlier stage must have images and a learning rate > 0, found "
                f"{stage.images} images and {stage.learning_rate:g}"
            )
    if fixed(origin) >= images:
        raise CorruptError(f"{path}: earlier stages have {fixed(origin)} of {images} images; none are left")
