"""ResNet18 for small images, with the layers, parameter names and parameter order of MTT's `ResNet`.

The variant ResNet18AP halves images by average pooling instead of strided convolutions, and its classifier
receives all pixels of the last stage instead of their average.
"""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from mct.models.architectures.norms import norm_layers


class Block(nn.Module):
    """A residual block: two 3x3 convolutions with normalisation, and a shortcut.

    The input is `(B, incoming, n, n)`. The output is `(B, width, m, m)`, where m is about n / 2 if the block
    halves the image, and n otherwise.

    Args:
        incoming: Channels of the input.
        width: Channels of the output.
        halve: Whether to halve the image.
        norm: `instance` or `batch`.
        average: Halve by average pooling instead of a strided convolution.
    """

    def __init__(self, incoming: int, width: int, *, halve: bool, norm: str, average: bool) -> None:
        super().__init__()
        self.average = average and halve
        stride = 2 if halve and not average else 1
        self.conv1 = nn.Conv2d(incoming, width, kernel_size=3, stride=stride, padding=1, bias=False)
        (self.bn1,) = norm_layers(norm, width, 1)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        (self.bn2,) = norm_layers(norm, width, 1)
        self.shortcut = nn.Sequential()
        if halve:
            self.shortcut.append(nn.Conv2d(incoming, width, kernel_size=1, stride=stride, bias=False))
            if average:
                self.shortcut.append(nn.AvgPool2d(2))
            self.shortcut.extend(norm_layers(norm, width, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `(B, width, m, m)` of `images`."""
        out = relu(self.bn1(self.conv1(images)))
        if self.average:
            out = avg_pool2d(out, 2)
        out = self.bn2(self.conv2(out))
        return relu(out + self.shortcut(images))


class ResNet18(nn.Module):
    """A convolution and eight residual blocks in four stages, followed by one linear layer.

    The input is `(B, channels, n, n)` with n such that the last stage has 4x4 pixels, or 3x3 pixels if
    `average` is set and there is one channel. The output is `(B, classes)` logits.

    Args:
        channels: Channels of the input.
        classes: Number of classes.
        norm: `instance` or `batch`.
        average: Whether this is the variant ResNet18AP.
    """

    def __init__(self, *, channels: int, classes: int, norm: str, average: bool) -> None:
        super().__init__()
        self.average = average
        self.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
        (self.bn1,) = norm_layers(norm, 64, 1)

        def stage(width: int) -> nn.Sequential:
            incoming, halve = (64, False) if width == 64 else (width // 2, True)
            first = Block(incoming, width, halve=halve, norm=norm, average=average)
            return nn.Sequential(first, Block(width, width, halve=False, norm=norm, average=average))

        self.layer1, self.layer2, self.layer3, self.layer4 = map(stage, (64, 128, 256, 512))
        side = 1 if not average else 3 if channels == 1 else 4
        self.classifier = nn.Linear(512 * side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, classes)` of `images`."""
        out = relu(self.bn1(self.conv1(images)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        if not self.average:
            out = avg_pool2d(out, 4)
        logits: Tensor = self.classifier(out.flatten(1))
        return logits
