"""VGG11 for small images, with the layers, parameter names and parameter order of MTT's `VGG`."""

from typing import Final

from torch import Tensor, nn

from mct.models.architectures.norms import norm_layers

_STAGES: Final = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Widths of the convolutions before each max pooling."""


class VGG11(nn.Module):
    """Eight blocks of 3x3 convolution, normalisation and ReLU, five max poolings and one linear layer.

    The input is `(B, channels, n, n)` with n such that the last pooling gives one pixel. The output is
    `(B, classes)` logits.
    """

    def __init__(self, *, channels: int, classes: int, norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        incoming, padding = channels, 3 if channels == 1 else 1
        for widths in _STAGES:
            for width in widths:
                layers.append(nn.Conv2d(incoming, width, kernel_size=3, padding=padding))
                layers.extend(norm_layers(norm, width, 1))
                layers.append(nn.ReLU())
                incoming, padding = width, 1
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, classes)` of `images`."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits
