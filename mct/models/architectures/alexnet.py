"""AlexNet for small images, with the layers, parameter names and parameter order of MTT's `AlexNet`."""

from torch import Tensor, nn


class AlexNet(nn.Module):
    """Five convolutions, three max poolings and one linear layer, without normalisation layers.

    The input is `(B, channels, n, n)` with n such that the last pooling gives 4x4 pixels. The output is
    `(B, classes)` logits.
    """

    def __init__(self, *, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, kernel_size=5, padding=4 if channels == 1 else 2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(192, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 192, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(192, 192, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Linear(192 * 4 * 4, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, classes)` of `images`."""
        logits: Tensor = self.fc(self.features(images).flatten(1))
        return logits
