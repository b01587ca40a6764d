"""Accuracy along an artifact."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.evaluation.protocol import accuracy_of  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.plots import along as plots  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.generators import drain  # noqa: E402

KNOTS = (2,)
LAST = 5


@pytest.fixture
def layout(network) -> trajfmt.ParamLayout:
    """Return the layout of the small network."""
    return trajfmt.ParamLayout.of(networks.parameters_of(network))


@pytest.fixture
def theta(network, layout: trajfmt.ParamLayout, walk: Callable[..., np.ndarray]) -> np.ndarray:
    """Return weights `(T+1, P)` that wander away from the network's own."""
    return networks.flatten(network).numpy() + 0.05 * walk(layout, LAST + 1)


@pytest.fixture
def small(digits: Dataset) -> Dataset:
    """Return digits with few test images."""
    return replace(digits, test_images=digits.test_images[:60], test_labels=digits.test_labels[:60])


@pytest.fixture
def convex(
    write_bundle: Callable[..., Path], layout: trajfmt.ParamLayout, theta: np.ndarray
) -> trajfmt.Bundle:
    """Return the convexified trajectory, after another one."""
    with trajfmt.open(write_bundle(layout, theta[::-1].copy(), theta, knots=KNOTS)) as bundle:
        yield bundle


@pytest.fixture
def full(write_bundle: Callable[..., Path], layout: trajfmt.ParamLayout, theta: np.ndarray) -> trajfmt.Bundle:
    """Return the same trajectories with all their waypoints."""
    with trajfmt.open(write_bundle(layout, theta[::-1].copy(), theta, encoding="full")) as bundle:
        yield bundle


def reference(model: trajfmt.Model, dataset: Dataset, weights: np.ndarray) -> tuple[float, float]:
    """Return accuracy and loss of weights, by torch's own way to fill a network."""
    network = networks.build(model, generator=generator(7))
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), network.parameters())
    loss = torch.nn.functional.cross_entropy(network(dataset.test_images), dataset.test_labels)
    return accuracy_of(network, dataset.test_images, dataset.test_labels), loss.item()


def test_stored_weights_have_their_own_accuracy(convex, full, small, model, theta) -> None:
    """At knots and waypoints the network is the stored one; between knots it is trajfmt's."""
    events, found = drain(plots.along(convex, small, model, points=4, trajectory=1, original=full))
    assert list(found.points) == events
    assert found.knots == (0, 2, 5)
    for point in found.of("original"):
        assert (point.accuracy, point.loss) == pytest.approx(reference(model, small, theta[int(point.time)]))
    way = {point.time: point for point in found.of("convexified")}
    for time in (0, 2, 5):
        assert (way[time].accuracy, way[time].loss) == pytest.approx(reference(model, small, theta[time]))
    between = way[5 / 3]
    assert (between.accuracy, between.loss) == pytest.approx(reference(model, small, convex[1].at(5 / 3)))
    assert len({point.loss for point in found.of("convexified")}) == 5  # the networks differ


def test_times(convex, full, small, model) -> None:
    """Real and even times with the knots on the convexified way, whole ones on the original."""
    _, found = drain(plots.along(convex, small, model, points=3, trajectory=1, original=full))
    assert [point.time for point in found.of("convexified")] == [0, 2, 2.5, 5]
    assert [point.time for point in found.of("original")] == [0, 2, 5]
    _, found = drain(plots.along(full, small, model, points=50))
    assert [point.time for point in found.points] == [0, 1, 2, 3, 4, 5]
    assert (found.knots, found.of("convexified")) == ((), [])


def test_progress_counts(convex, full, small, model) -> None:
    """Every event says how many are done and how many there will be."""
    events, _ = drain(plots.along(convex, small, model, points=3, trajectory=1, original=full))
    assert [(event.number, event.total) for event in events] == [(number, 7) for number in range(1, 8)]


def test_some_images_stand_for_all(convex, small, model) -> None:
    """A smaller number is spread evenly, a larger one means all."""
    _, some = drain(plots.along(convex, small, model, points=2, images=20))
    third = replace(small, test_images=small.test_images[::3], test_labels=small.test_labels[::3])
    _, expected = drain(plots.along(convex, third, model, points=2))
    assert (some.images, some.points) == (20, expected.points)
    assert drain(plots.along(convex, small, model, points=2, images=10**6))[1].images == 60


def test_plane_is_that_of_the_original(convex, full, small, model, theta) -> None:
    """Axes come from the waypoints where they are given, else from the knots."""
    _, found = drain(plots.along(convex, small, model, points=2, trajectory=1, original=full, project=True))
    centred = theta.astype(np.float64) - theta.astype(np.float64).mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    places = {point.time: point.plane for point in found.of("convexified")}
    np.testing.assert_allclose(np.abs(places[5]), np.abs(u[5, :2] * s[:2]), rtol=1e-5)
    _, found = drain(plots.along(convex, small, model, points=2, trajectory=1, project=True))
    places = {point.time: np.array(point.plane) for point in found.points}
    distance = np.linalg.norm(theta[5].astype(np.float64) - theta[2])
    assert np.linalg.norm(places[5] - places[2]) == pytest.approx(distance, rel=1e-5)


def test_batch_norm_uses_the_batch(write_bundle, small) -> None:
    """Running statistics were never recorded, and those of a new network would mean nothing."""
    model = networks.parse("ConvNetD2W4BN", channels=1, image_size=8, classes=10)
    network = networks.build(model, generator=generator(0))
    weights = np.stack([networks.flatten(network).numpy() * scale for scale in (1, 2, 3)])
    with trajfmt.open(
        write_bundle(trajfmt.ParamLayout.of(networks.parameters_of(network)), weights)
    ) as bundle:
        _, found = drain(plots.along(bundle, small, model, points=2))
    hits = network.train()(small.test_images).argmax(1) == small.test_labels
    assert found.points[0].accuracy == float(hits.double().mean())
    assert found.batch_statistics
    assert found.title.endswith("test images, batch norm by the statistics of the test images")


@pytest.mark.parametrize(("wrong", "message"), [({"points": 1}, "`points` must be >= 2"),
                                                ({"images": 0}, "`images` must be >= 1")])  # fmt: skip
def test_settings_out_of_range(convex, small, model, wrong, message) -> None:
    """The setting is named before any work."""
    with pytest.raises(ConfigError, match=message):
        next(plots.along(convex, small, model, **wrong))


def test_bundles_that_do_not_go_together(convex, full, small, model, write_bundle, layout, theta) -> None:
    """The original must be full, of the same expert, and as long."""
    with pytest.raises(ConfigError, match="must be a full bundle"):
        next(plots.along(convex, small, model, original=convex))
    with pytest.raises(ConfigError, match="give an original only with a convex bundle"):
        next(plots.along(full, small, model, original=full))
    other_end = theta[::-1] * np.linspace(1, 2, 6, dtype=np.float32)[:, None]
    for changed, message in ((theta[:-1], "ends at timestep 5, but the original ends at 4"),
                             (theta + 1, "start with different weights"),
                             (other_end, "by their digests")):  # fmt: skip
        other = write_bundle(layout, changed, name=f"{message[:5]}.mtt", encoding="full")
        with trajfmt.open(other) as bundle, pytest.raises(MismatchError, match=message):
            next(plots.along(convex, small, model, original=bundle))


def test_other_model_and_other_trajectory(convex, small) -> None:
    """A network that does not fit, and a number that is too large, are refused at once."""
    other = networks.parse("ConvNetD2W8", channels=1, image_size=8, classes=10)
    with pytest.raises(MismatchError, match="check the model"):
        next(plots.along(convex, small, other))
    fitting = networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10)
    with pytest.raises(trajfmt.UsageError, match=r"\[0, 1\], got 2"):
        next(plots.along(convex, small, fitting, trajectory=2))


def test_numbers_are_those_that_were_found(convex, full, small, model) -> None:
    """A row for every network; knots are marked, and components are empty unless they were requested."""
    _, found = drain(plots.along(convex, small, model, points=3, trajectory=1, original=full))
    table = found.table()
    assert table.columns[:6] == ("trajectory", "path", "timestep", "accuracy_fraction", "loss_nats", "knot")
    assert [row[:5] for row in table.rows] == [(1, p.way, p.time, p.accuracy, p.loss) for p in found.points]
    assert [row[2] for row in table.rows if row[5]] == [0, *KNOTS, LAST]
    assert {row[6:] for row in table.rows} == {(None, None)}
    assert found.ways == ["original", "convexified"]
    assert not found.batch_statistics
    assert found.axis == "timestep"


def test_weights_of_16_bits(
    write_bundle, small: Dataset, model: trajfmt.Model, network, theta: np.ndarray
) -> None:
    """The accuracies of a bundle in bfloat16 are those of the rounded weights."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network), dtype="BF16")
    rounded = theta.astype(layout.numpy_dtype)
    with trajfmt.open(write_bundle(layout, rounded, encoding="full")) as bundle:
        _, found = drain(plots.along(bundle, small, model, points=2))
    expected = [reference(model, small, row.astype(np.float32)) for row in (rounded[0], rounded[-1])]
    for point, wanted in zip(found.points, expected, strict=True):
        assert (point.accuracy, point.loss) == pytest.approx(wanted)
