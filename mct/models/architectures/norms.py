"""The normalisation layers of MTT's networks, by the name that a manifest gives them."""

from torch import nn


def norm_layers(kind: str, width: int, size: int) -> list[nn.Module]:
    """Return the layer that normalises `(B, width, size, size)`, or no layer for `none`.

    Args:
        kind: `instance`, `batch`, `group`, `layer` or `none`.
        width: Channels.
        size: Height and width; only layer norm has a weight for every pixel.
    """
    match kind:
        case "instance":  # one group per channel, as in MTT; not nn.InstanceNorm2d
            return [nn.GroupNorm(width, width)]
        case "batch":
            return [nn.BatchNorm2d(width)]
        case "group":
            return [nn.GroupNorm(4, width)]
        case "layer":
            return [nn.LayerNorm([width, size, size])]
    return []
