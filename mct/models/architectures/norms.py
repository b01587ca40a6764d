"""The normalisation layers of MTT's networks, under the names that manifests use."""

from torch import nn


def norm_layers(kind: str, width: int, size: int) -> list[nn.Module]:
    """Return a list with the layer that normalises inputs `(B, width, size, size)`; empty for `none`.

    Args:
        kind: `instance`, `batch`, `group`, `layer` or `none`.
        width: Number of channels.
        size: Height and width. It matters only for `layer`, which has a weight for every pixel.
    """
    match kind:
        case "instance":  # MTT uses GroupNorm with one group per channel, not nn.InstanceNorm2d
            return [nn.GroupNorm(width, width)]
        case "batch":
            return [nn.BatchNorm2d(width)]
        case "group":
            return [nn.GroupNorm(4, width)]
        case "layer":
            return [nn.LayerNorm([width, size, size])]
    return []
