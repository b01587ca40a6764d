"""Random real images of every class, by their labels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mct.errors import ConfigError
from trajfmt.errors import counted


def pick_per_class(
    labels: Tensor,
    classes: int,
    ipc: int | Sequence[int],
    generator: torch.Generator,
    *,
    prefer: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Draw random images of each class without replacement.

    Args:
        labels: `(N,)` class numbers of the images.
        classes: Number of classes K.
        ipc: Number of images per class, or one number for each class.
        generator: A generator on the CPU.
        prefer: Sorts the indices of a class, which are given to it in random order, so that those to take
        come
            first; None takes the first ones of the random order.

    Returns:
        Indices of images, int64, sorted by class, on the device of `labels`.

    Raises:
        ConfigError: If a class has too few images.
    """
    chosen = []
    for label, count in enumerate((ipc,) * classes if isinstance(ipc, int) else ipc):
        members = (labels == label).nonzero()[:, 0]
        if len(members) < count:
            raise ConfigError(
                f"`ipc` is {count}, but class {label} has only "
                f"{counted(len(members), 'training image')}; use a smaller "
                "`ipc`"
            )
        order = torch.randperm(len(members), generator=generator).to(members.device)
        shuffled = members[order]
        chosen.append((shuffled if prefer is None else prefer(shuffled))[:count])
    return torch.cat(chosen)
