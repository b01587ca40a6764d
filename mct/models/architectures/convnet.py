"""MTT's ConvNet: the network of its experts.

The layers, and with them the names and the order of `Module.parameters()`, are those of MTT's
`ConvNet`, because that order is how its buffers are read.
"""

from torch import Tensor, nn

from mct.errors import ConfigError
from mct.models.architectures.norms import norm_layers


class ConvNet(nn.Module):
    """`depth` blocks of 3x3 convolution, norm, ReLU and 2x2 pooling, then one linear layer.

    Input `(B, channels, image_size, image_size)` float, output `(B, classes)` logits.
    """

    def __init__(
        self, *, depth: int, width: int, channels: int, image_size: int, classes: int, norm: str, pooling: str
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        # MTT pads the first convolution by 3 for every one-channel input, and treats 28 as 32
        # throughout; the two agree for 28x28 alone, so only there do we do it.
        padding, size, incoming = (
            (3, 32, 1) if (channels, image_size) == (1, 28) else (1, image_size, channels)
        )
        for _ in range(depth):
            layers.append(nn.Conv2d(incoming, width, kernel_size=3, padding=padding))
            layers.extend(norm_layers(norm, width, size))
            layers.append(nn.ReLU())
            if pooling != "none":
                layers.append(nn.AvgPool2d(2) if pooling == "avg" else nn.MaxPool2d(2))
                size //= 2
            incoming, padding = width, 1
        if size < 1:
            raise ConfigError(
                f"a ConvNet of depth {depth} halves {image_size}x{image_size} images to nothing; "
                "use a smaller depth"
            )
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * size * size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, classes)` of `images`."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits
