"""ConvNet, the network of MTT's experts.

It has the layers, parameter names and parameter order of MTT's `ConvNet`. MTT's replay buffers contain the
parameters in this order, without names.
"""

from torch import Tensor, nn

from mct.errors import ConfigError
from mct.models.architectures.norms import norm_layers


class ConvNet(nn.Module):
    """`depth` blocks of 3x3 convolution, normalisation, ReLU and 2x2 pooling, followed by one linear layer.

    The input is `(B, channels, image_size, image_size)`. The output is `(B, classes)` logits.

    Args:
        depth: Number of blocks.
        width: Channels of every convolution.
        channels: Channels of the input.
        image_size: Height and width of the input.
        classes: Number of classes.
        norm: `instance`, `batch`, `group`, `layer` or `none`.
        pooling: `avg`, `max` or `none`.

    Raises:
        ConfigError: If pooling leaves no pixel.
    """

    def __init__(
        self, *, depth: int, width: int, channels: int, image_size: int, classes: int, norm: str, pooling: str
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        # MTT pads the first convolution by 3 if there is one channel, and treats the image size 28 as 32. The
        # two agree only for 28x28 images of one channel, so the padding is 3 only for these here.
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
                f"a ConvNet of depth {depth} halves images {depth} times, which leaves no pixel of "
                f"{image_size}x{image_size} images; use a smaller depth"
            )
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * size * size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, classes)` of `images`."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits
