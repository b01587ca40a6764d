"""Random images of every class: real ones by their labels, and synthetic ones for the batches of a loop."""

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


def even_batches(
    classes: int, ipc: int, size: int | None, steps: int, generator: torch.Generator
) -> list[Tensor]:
    """Return `steps` batches of indices `(B,)` int64 of images that are sorted by class, `ipc` of each.

    A batch has `size` / K random images of every class, or, if `size` is less than the number of classes K,
    one random image of each of `size` random classes, as RaT-BPTT's code draws them. Indices are sorted.
    Nothing is drawn where every batch has all images.

    Args:
        classes: Number of classes K.
        ipc: Images of each class.
        size: Images of a batch B: less than K, or a multiple of K; None, or more than there are: all.
        steps: Number of batches.
        generator: A generator on the CPU.

    Raises:
        ConfigError: `size` is neither.

    Example:
        >>> from mct.runtime.seeds import generator
        >>> [(batch // 3).tolist() for batch in even_batches(4, 3, 4, 2, generator(0))]
        [[0, 1, 2, 3], [0, 1, 2, 3]]
        >>> [len(batch) for batch in even_batches(4, 3, 2, 3, generator(0))]
        [2, 2, 2]
    """
    if size is None or size >= classes * ipc:
        return [torch.arange(classes * ipc)] * steps
    each, rest = divmod(size, classes)
    if each and rest:
        raise ConfigError(
            f"`batch_syn` must be less than the {classes} classes, or a multiple of them, with `sampler` "
            f"classes, got {size}"
        )
    chosen = torch.rand(steps, classes, generator=generator).argsort(1)
    chosen = chosen[:, : size if not each else classes].sort(1).values
    order = torch.rand(steps, chosen.shape[1], ipc, generator=generator).argsort(2)
    rows = order[:, :, : max(each, 1)].sort(2).values + ipc * chosen[:, :, None]
    return list(rows.flatten(1))
