"""Experts that start from networks trained on distilled images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ExistsError, MismatchError  # noqa: E402
from mct.evaluation.protocol import train_network  # noqa: E402
from mct.experts.starts import Starts  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from tests.helpers.experts import run_of, stop_after  # noqa: E402
from tests.helpers.folders import contents  # noqa: E402
from tests.helpers.stages import two_stages  # noqa: E402

PROTOCOL = EvaluateConfig(epochs=1, augment="none")


@pytest.fixture
def result(tmp_path: Path, digits: Dataset) -> Path:
    """Write a result of two stages, the second of which was evaluated with a short protocol."""
    synthetic.save(tmp_path / "two.safetensors", two_stages(digits, evaluation=PROTOCOL), digits)
    return tmp_path / "two.safetensors"


def test_timestep_0_is_the_trained_network(tmp_path: Path, model: trajfmt.Model, result: Path) -> None:
    """Of each expert another one, trained on one stage after the other; training goes on from there."""
    run = run_of(tmp_path / "out.mtt", epochs=1, start_from=result)
    list(run.events())
    found = synthetic.load(result)
    starts = []
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        for number, trajectory in enumerate(bundle):
            network = train_network(
                found.images, found.labels, model, replace(PROTOCOL, protocol="sequence"),
                found.learning_rate, generator(0, "expert", number, "start"), stages=found.stages,
            )  # fmt: skip
            starts.append(networks.flatten(network).detach().numpy())
            assert np.array_equal(trajectory.at(0), starts[-1])
            assert not np.array_equal(trajectory.at(1), starts[-1])
        recipe = bundle.manifest.provenance.recipe
    assert not np.array_equal(*starts)
    assert (recipe["start_from_epochs"], len(recipe["start_from_sha256"])) == (1, 64)


def test_training_continues_with_the_same_images_alone(tmp_path: Path, result: Path) -> None:
    """Interrupted, a run ends with the same bytes; with another start it is another run."""
    small = {"experts": 3, "epochs": 1, "batch_size": 2000}
    for _ in run_of(tmp_path / "whole.mct", start_from=result, **small).events():
        pass
    stop_after(run_of(tmp_path / "out.mct", start_from=result, **small), 1)
    with pytest.raises(ExistsError):
        next(run_of(tmp_path / "out.mct", **small).events())
    for _ in run_of(tmp_path / "out.mct", start_from=result, **small).events():
        pass
    assert contents(tmp_path / "out.mct") == contents(tmp_path / "whole.mct")


def test_images_of_another_network_are_refused(digits: Dataset, result: Path) -> None:
    """Such networks could not be the first timestep; so are images of other classes."""
    other = networks.parse("ConvNetD1W4", channels=1, image_size=8, classes=10)
    with pytest.raises(MismatchError, match="ConvNetD2W4, but the experts are ConvNetD1W4"):
        Starts.prepare(result, digits, other)
    with pytest.raises(MismatchError, match="other class names"):
        Starts.prepare(result, replace(digits, class_names=("a",) * 10), other)
