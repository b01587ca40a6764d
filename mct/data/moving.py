"""Copying small CPU tensors, such as random draws, to another device in one transfer per dtype."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mct.data.augment import Draws


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy one-dimensional CPU tensors to `device`, in one transfer per dtype.

    Args:
        tensors: One-dimensional tensors on the CPU.
        device: The destination. If it is the CPU, the tensors are returned unchanged.

    Example:
        >>> moved([torch.arange(2), torch.rand(3)], torch.device("cpu"))[0]
        tensor([0, 1])
    """
    if device.type == "cpu":
        return list(tensors)
    found: dict[torch.dtype, Iterator[Tensor]] = {}
    for dtype in {tensor.dtype for tensor in tensors}:
        own = [tensor for tensor in tensors if tensor.dtype == dtype]
        whole = torch.cat(own)
        if device.type == "cuda":  # a copy from pageable memory would wait for the device
            whole = whole.pin_memory()
        there = whole.to(device, non_blocking=True)
        found[dtype] = iter(torch.split(there, [len(tensor) for tensor in own]))
    return [next(found[tensor.dtype]) for tensor in tensors]


def moved_batches(
    batches: Sequence[Tensor], draws: Sequence[Draws] | None, device: torch.device
) -> tuple[list[Tensor], list[Draws] | None]:
    """Copy the batches of an inner loop, and the random numbers of their augmentation, to `device`.

    Args:
        batches: For each update, the `(B_i,)` int64 indices of its images.
        draws: For each update, the random numbers of its augmentation; None without augmentation.
        device: The destination.

    Returns:
        `batches` and `draws` on `device`.
    """
    values = [value for each in draws or () for value in each.values]
    there = moved([*batches, *values], device)
    if draws is None:
        return there, None
    left = iter(there[len(batches) :])
    numbers = [Draws(family=each.family, values=tuple(next(left) for _ in each.values)) for each in draws]
    return there[: len(batches)], numbers
