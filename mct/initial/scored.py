"""Initial images by their difficulty: SelMatch's window over the images of each class, from the hardest on.

References:
    Lee and Chung, "SelMatch: Effectively Scaling Up Dataset Distillation via Selection-Based Initialization
    and Partial Updates by Trajectory Matching", ICML 2024, and its code, distill.py, at commit ce63f76.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mct.data import difficulty
from mct.data.datasets import Dataset
from mct.data.difficulty import Order
from mct.errors import ConfigError, DataError
from mct.models import el2n
from mct.runtime.phases import phase
from mct.trajectories.stream import KnotStream


def hash_of(scores: str | None) -> str | None:
    """Return the SHA-256 of a file of scores; None if there is none, or scores are computed.

    Raises:
        DataError: There is no such file.
    """
    if scores is None or scores == el2n.NAME:
        return None
    try:
        return hashlib.sha256(Path(scores).read_bytes()).hexdigest()
    except OSError as exc:
        raise DataError(f"{scores}: cannot be read as a file of scores: {exc.strerror}") from exc


def window(order: Order, ipc: int, skip: int) -> Tensor:
    """Return the images of each class after the `skip` hardest ones, `(K ipc,)` int64, sorted by class.

    Args:
        order: The images of each class, the hardest first.
        ipc: Number of images per class.
        skip: Number of the hardest images of each class that are left out.

    Raises:
        ConfigError: A class has too few images.

    Example:
        >>> window((torch.tensor([4, 1, 0]), torch.tensor([2, 5, 3])), ipc=2, skip=1)
        tensor([1, 0, 5, 3])
    """
    fewest = min(range(len(order)), key=lambda label: len(order[label]))
    if len(order[fewest]) < skip + ipc:
        raise ConfigError(
            f"`ipc` {ipc} after the {skip} hardest images needs {skip + ipc} images of every class, but "
            f"class {fewest} has only {len(order[fewest])}; use a smaller `ipc` or `skip_hardest`"
        )
    return torch.cat([images[skip : skip + ipc] for images in order])


def filed(path: Path, labels: Tensor, kept: Tensor, classes: int) -> Order:
    """Return the images of each class by the scores or indices in a file, the hardest first.

    Args:
        path: See `mct.data.difficulty.read`.
        labels: Labels of all training images, `(N,)` int64.
        kept: Which of them the run uses, `(N,)` bool. Images are numbered among these.
        classes: K.

    Raises:
        DataError: The file cannot be read, or is for other images.
    """
    return difficulty.restricted(difficulty.read(path, labels, classes, hardest=True), kept)


def by_experts(
    stream: KnotStream, network: nn.Module, unpack: Callable[[Tensor], Tensor], dataset: Dataset
) -> Order:
    """Return the images of each class by their EL2N scores for the experts of a run, the hardest first.

    Args:
        stream: The trajectories.
        network: Their network.
        unpack: Returns weights of the stream `(P,)` in the order of `Module.parameters()`.
        dataset: The images.

    Raises:
        ConfigError: A trajectory ends before timestep 10, or the network has running statistics.
    """
    count = min(el2n.EXPERTS, stream.trajectories)
    last = min(stream.last_time(number) for number in range(count))
    if last < el2n.TIMESTEP:
        raise ConfigError(
            f"`scores` {el2n.NAME} are of timestep {el2n.TIMESTEP}, but a trajectory ends at timestep "
            f"{last:g}; give a file of scores"
        )
    if any(True for _ in network.buffers()):
        raise ConfigError(
            f"`scores` {el2n.NAME} cannot be computed with these experts, whose networks have buffers, such "
            "as running statistics, which trajectories do not contain; give a file of scores"
        )
    with phase("scoring the training images"):
        weights = (
            unpack(stream.materialise(stream.locate(number, float(el2n.TIMESTEP)))) for number in range(count)
        )
        found = el2n.scores(network, weights, dataset.train_images, dataset.train_labels)
    return difficulty.ordered(found, dataset.train_labels, dataset.classes, hardest=True)
