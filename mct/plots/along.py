"""Testing the networks along a convexified trajectory and its original.

`mct.plots.profile` and `mct.plots.landscape` draw the results. No network is trained.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trajfmt
from mct.data.datasets import Dataset
from mct.errors import ConfigError, MismatchError
from mct.models import networks
from mct.plots import plane
from mct.runtime.seeds import generator
from trajfmt.errors import counted
from trajfmt.plots import Table, timestep_axis
from trajfmt.schema import numbered
from trajfmt.torch import from_readonly

Way = Literal["convexified", "original"]
"""The trajectory to which a network belongs."""

WAYS: Final[tuple[Way, Way]] = ("original", "convexified")
"""Both of them, in the order in which they are tested and drawn."""

_BLOCK = 1024  # images in a forward pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The test result of one network on a trajectory."""

    way: Way
    """The trajectory to which the network belongs."""

    time: float
    """Timestep t of the network: a real number on a convexified trajectory, a whole one on the original."""

    accuracy: float
    """Accuracy on the test images, in [0, 1]."""

    loss: float
    """Mean cross-entropy on the test images."""

    plane: tuple[float, float] | None
    """Coordinates in the plane of the first two principal components; None if they were not requested."""

    number: int
    """Number of networks tested so far, including this one."""

    total: int
    """Number of networks to test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """The test results of all networks on a convexified trajectory, its original, or both."""

    dataset: str
    """Name of the dataset."""

    trajectory: int
    """Number of the trajectory in the bundle."""

    images: int
    """Number of test images that were used."""

    knots: tuple[int, ...]
    """Timesteps of the knots of the convexified trajectory; empty if there is only an original."""

    batch_statistics: bool = False
    """Whether the network has batch norms, which then used the statistics of the test images: a convexified
    trajectory has no running statistics between its knots, and both trajectories are tested in one way."""

    axis: str = "timestep"
    """Label of an axis of timesteps, with their unit if the bundle states it."""

    points: tuple[Point, ...]
    """All test results: first those of the original, then those of the convexified trajectory, by time."""

    @property
    def ways(self) -> list[Way]:
        """The trajectories that were tested."""
        here = {point.way for point in self.points}
        return [way for way in WAYS if way in here]

    @property
    def title(self) -> str:
        """The dataset, the trajectory, the number of test images, and what batch norms used, in words."""
        used = ", batch norm by the statistics of the test images" if self.batch_statistics else ""
        return f"{self.dataset}, trajectory {self.trajectory}, {counted(self.images, 'test image')}{used}"

    def of(self, way: Way) -> list[Point]:
        """Return the points of one trajectory."""
        return [point for point in self.points if point.way == way]

    def table(self) -> Table:
        """Return all test results. Components have the unit of the weights, and the loss is in nats."""
        rows = [
            (
                self.trajectory,
                point.way,
                point.time,
                point.accuracy,
                point.loss,
                point.way == "convexified" and point.time in self.knots,
                *(point.plane or (None, None)),
            )
            for point in self.points
        ]
        names = (
            "trajectory",
            "path",
            "timestep",
            "accuracy_fraction",
            "loss_nats",
            "knot",
            "component_1",
            "component_2",
        )
        return Table(names, rows)


def along(
    bundle: trajfmt.Bundle,
    dataset: Dataset,
    model: trajfmt.Model,
    *,
    points: int = 101,
    trajectory: int = 0,
    original: trajfmt.Bundle | None = None,
    images: int | None = None,
    project: bool = False,
) -> Generator[Point, None, Along]:
    """Test the networks along a trajectory.

    A convexified trajectory is tested at `points` evenly spaced times from 0 to T, and at its knots. An
    original is tested at all its timesteps, or at about `points` of them if it has more. Batch norms use the
    statistics of the test images, in blocks of 1,024, and not those that a bundle may store at its knots.

    Args:
        bundle: A `convex` bundle, or a `full` one to test only the original.
        dataset: The dataset with the test images, preprocessed as for the experts, on the device to use.
        model: The network of the experts.
        points: Number of times, at least 2.
        trajectory: Number of the trajectory, in `bundle` and in `original`.
        original: The `full` bundle of the same experts, or None.
        images: Number of test images to use, evenly spaced; None for all.
        project: Whether to compute the coordinates of every network in the plane of the first two principal
            components of the original's timesteps, or of the knots if there is no original. All these weights
            are then held in memory.

    Returns:
        A generator that yields each test result and returns all of them.

    Raises:
        ConfigError: If `points` or `images` is out of range, or a bundle has the wrong encoding.
        MismatchError: If the bundles, the model and the dataset do not belong together.
    """
    if points < 2:
        raise ConfigError(f"`points` must be >= 2, got {points}")
    if images is not None and images < 1:
        raise ConfigError(f"`images` must be >= 1, got {images}")
    device = dataset.test_images.device
    network = networks.build(model, generator=generator(0, "shape"), device=device).eval()
    by_batch = _use_batch_statistics(network)
    found: dict[Way, trajfmt.Trajectory] = {}
    for way, given in zip(WAYS, _settle(bundle, original), strict=True):
        if given is not None:
            networks.check_layout(network, given.layout)
            found[way] = given[trajectory]
    if len(found) == 2:
        _check_same(found["original"], found["convexified"], trajectory)
        assert original is not None
        _check_digests(original, bundle, trajectory)
    times = {way: _times(way, theta, points) for way, theta in found.items()}
    first = next(iter(found.values()))  # the original if there is one
    axes = plane.fit([first.knot(k) for k in range(len(first.knots))]) if project else None
    inputs, labels = _spread(dataset, images)
    total = sum(map(len, times.values()))
    tested: list[Point] = []
    for way, theta in found.items():
        for time in times[way]:
            weights = theta.at(time)
            _load(network, weights)
            accuracy, loss = _test(network, inputs, labels)
            point = Point(
                way=way,
                time=time,
                accuracy=accuracy,
                loss=loss,
                plane=None if axes is None else axes.project(weights),
                number=len(tested) + 1,
                total=total,
            )
            tested.append(point)
            yield point
    return Along(
        dataset=dataset.name,
        trajectory=trajectory,
        images=len(labels),
        knots=found["convexified"].knots if "convexified" in found else (),
        batch_statistics=by_batch,
        axis=timestep_axis(bundle, trajectory),
        points=tuple(tested),
    )


def _settle(
    bundle: trajfmt.Bundle, original: trajfmt.Bundle | None
) -> tuple[trajfmt.Bundle | None, trajfmt.Bundle | None]:
    """Return the bundle of the original and the bundle of the convexified trajectory, or None for either."""
    if original is not None and original.encoding != "full":
        raise ConfigError(f"{original.place}: the original must be a full bundle (.mtt), got a convex one")
    if bundle.encoding == "convex":
        return original, bundle
    if original is not None:
        raise ConfigError(
            f"{bundle.place}: is a full bundle; give an original only with a convex bundle (.mct)"
        )
    return bundle, None


def _check_same(original: trajfmt.Trajectory, convex: trajfmt.Trajectory, number: int) -> None:
    if original.last != convex.last:
        raise MismatchError(
            f"trajectory {number} ends at timestep {convex.last}, but the original ends at {original.last}; "
            "give the original bundle of the same experts"
        )
    first, theirs = convex.knot(0), original.knot(0)
    if first.dtype == theirs.dtype and not np.array_equal(first, theirs):
        raise MismatchError(
            f"trajectory {number} and the original start with different weights, so they are not of the same "
            "expert; give the original bundle of the same experts"
        )


def _check_digests(original: trajfmt.Bundle, convex: trajfmt.Bundle, number: int) -> None:
    """Require the digests of one expert, unless the weights have other types, which have other digests.

    Raises:
        MismatchError: The experts started with the same weights, and were trained differently.
    """
    digests = {numbered(bundle.manifest)[number].digest for bundle in (original, convex)}
    if len(digests) > 1 and original.layout.numpy_dtype == convex.layout.numpy_dtype:
        raise MismatchError(
            f"trajectory {number} and the original start with the same weights, but are not of the same "
            "expert, by their digests; give the original bundle of the same experts"
        )


def _times(way: Way, theta: trajfmt.Trajectory, points: int) -> list[float]:
    even = np.linspace(0, theta.last, points)
    if way == "original":
        return [float(time) for time in np.unique(even.round())]
    return [float(time) for time in np.union1d(even, theta.knots)]


def _use_batch_statistics(network: nn.Module) -> bool:
    """Have all batch norms use the statistics of each batch of test images; return whether there are any.

    Running statistics are stored at the knots at most, and belong to the weights there alone.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for module in norms:
        module.running_mean = module.running_var = None
    return bool(norms)


def _spread(dataset: Dataset, images: int | None) -> tuple[Tensor, Tensor]:
    count = len(dataset.test_labels)
    if images is None or images >= count:
        return dataset.test_images, dataset.test_labels
    chosen = torch.arange(images, device=dataset.test_labels.device) * count // images
    return dataset.test_images[chosen], dataset.test_labels[chosen]


def _load(network: nn.Module, weights: NDArray[np.generic]) -> None:
    flat, begin = from_readonly(weights), 0
    with torch.no_grad():
        for parameter in network.parameters():
            end = begin + parameter.numel()
            parameter.copy_(flat[begin:end].view_as(parameter))
            begin = end


def _test(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    hits, loss = 0, 0.0
    with torch.no_grad():
        for x, y in zip(torch.split(images, _BLOCK), torch.split(labels, _BLOCK), strict=True):
            logits = network(x)
            hits += int((logits.argmax(1) == y).sum())
            loss += float(cross_entropy(logits, y, reduction="sum"))
    return hits / len(labels), loss / len(labels)
