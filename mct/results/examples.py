"""The images of a synthetic dataset as a torch `Dataset`, for a `DataLoader`."""

from collections.abc import Callable

import torch
import torch.utils.data
from torch import Tensor

import trajfmt


class Examples(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Pairs of an image and its label. It can be pickled, and used by any number of worker processes.

    The images are **already preprocessed**, as the networks of the distillation see them: normalised or
    whitened as `preprocessing` says. Do not normalise them again. Test images need the same preprocessing;
    `mct.data.datasets.load(name, preprocessing=examples.preprocessing)` returns them with it.

    Args:
        images: `(N, C, H, W)` float32.
        labels: `(N,)` int64 class numbers, or `(N, K)` float32 class probabilities.
        preprocessing: The preprocessing that the images have.
        class_names: K names, one per class.
        transform: Called with each preprocessed image `(C, H, W)` when it is taken, for augmentation.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        preprocessing: trajfmt.Preprocessing,
        class_names: tuple[str, ...],
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.preprocessing = preprocessing
        self.class_names = class_names
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return image `(C, H, W)` float32, and label: `()` int64, or `(K,)` float32 probabilities."""
        image = self.images[index]
        return image if self.transform is None else self.transform(image), self.labels[index]

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        return f"<mct Examples: {len(self)} images {shape}, {self.preprocessing.kind}>"
