"""AlexNet in the CIFAR form of the trajectory matching family: layers, names and order of MTT's."""

from torch import Tensor, nn


class AlexNet(nn.Module):
    """Five convolutions, three max poolings, one linear layer; no norm.

    Input `(B, channels, n, n)` float with n such that 4x4 pixels are left, output `(B, classes)` logits.
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
