"""Training and recording of experts."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct import experts, networks  # noqa: E402
from mct.config import ExpertConfig  # noqa: E402
from mct.data import Dataset  # noqa: E402
from mct.errors import ConfigError, DivergedError, ExistsError  # noqa: E402
from mct.events import ExpertDone, ExpertEpoch  # noqa: E402
from mct.seeds import generator  # noqa: E402

CONFIG = ExpertConfig(experts=2, epochs=3, lr=0.05, batch_size=500)


def trained(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig = CONFIG):
    """Return events and trajectories."""
    theta: list[np.ndarray] = []
    return list(experts.train_experts(dataset, model, config, theta.append)), theta


def test_timesteps_are_initialisation_and_every_epoch(digits: Dataset, model: trajfmt.Model) -> None:
    """A trajectory has T+1 distinct rows, the first one the network as it was built."""
    events, theta = trained(digits, model)
    start = networks.flatten(networks.build(model, generator=generator(0, "expert", 0)))
    assert [item.shape for item in theta] == [(4, start.numel())] * 2
    assert theta[0].dtype == np.float32
    assert np.array_equal(theta[0][0], start.numpy())
    assert len({row.tobytes() for item in theta for row in item}) == 8
    assert [type(event) for event in events] == ([ExpertEpoch] * 3 + [ExpertDone]) * 2


def test_updates_are_plain_sgd(digits: Dataset, model: trajfmt.Model) -> None:
    """One epoch equals MTT's recipe written down once more."""
    _, theta = trained(digits, model, ExpertConfig(experts=1, epochs=1, lr=0.05, batch_size=500))
    random = generator(0, "expert", 0)
    network = networks.build(model, generator=random)
    order = torch.randperm(1352, generator=random)
    for batch in (order[:500], order[500:1000], order[1000:]):
        loss = torch.nn.functional.cross_entropy(
            network(digits.train_images[batch]), digits.train_labels[batch]
        )
        grads = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for value, grad in zip(network.parameters(), grads, strict=True):
                value -= 0.05 * grad
    np.testing.assert_allclose(theta[0][1], networks.flatten(network).numpy(), atol=1e-7)


def test_expert_that_diverges_is_named(digits: Dataset, model: trajfmt.Model) -> None:
    """Weights that are not numbers are never handed over."""
    with pytest.raises(DivergedError, match="expert 0: the loss of epoch"):
        trained(digits, model, ExpertConfig(experts=1, epochs=30, lr=1e30))


def test_experts_depend_on_seed_and_number_alone(digits: Dataset, model: trajfmt.Model) -> None:
    """A larger set starts with the smaller one, bit for bit."""
    small = trained(digits, model, ExpertConfig(experts=1, epochs=1))[1]
    large = trained(digits, model, ExpertConfig(experts=2, epochs=1))[1]
    other = trained(digits, model, ExpertConfig(experts=1, epochs=1, seed=1))[1]
    assert np.array_equal(small[0], large[0])
    assert not np.array_equal(small[0], large[1])
    assert not np.array_equal(small[0], other[0])


def test_recording_every_few_steps(digits: Dataset, model: trajfmt.Model) -> None:
    """With 3 steps an epoch, 2 epochs and a record every 2 steps there are 3 records."""
    config = ExpertConfig(experts=1, epochs=2, batch_size=500, steps_per_timestep=2)
    events, theta = trained(digits, model, config)
    assert theta[0].shape[0] == 4
    assert events[-1].timesteps == 4
    record = experts.provenance(digits, model, config)
    assert (record.timestep.kind, record.timestep.every) == ("step", 2)


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_bundle_round_trip(tmp_path: Path, digits: Dataset, model: trajfmt.Model, suffix: str) -> None:
    """The bundle holds the trajectories and says how they came about."""
    path = tmp_path / f"out{suffix}"
    run = experts.ExpertRun.prepare("digits", path, model="ConvNetD2W4", experts=2, epochs=3, lr=0.05,
                                    batch_size=500)  # fmt: skip
    for _ in run.events():
        assert not path.exists()
    theta = trained(digits, model)[1]
    with trajfmt.open(path) as bundle:
        assert bundle.encoding == {".mct": "convex", ".mtt": "full"}[suffix]
        record = bundle.manifest.provenance
        assert (record.dataset, record.model) == ("digits", model)
        assert record.preprocessing == digits.transform.record
        assert record.recipe["lr"] == 0.05
        for trajectory, expected in zip(bundle, theta, strict=True):
            assert np.array_equal(trajectory.at(0), expected[0])
            assert np.array_equal(trajectory.at(3), expected[3])


def test_buffer_in_mtts_layout(tmp_path: Path, digits: Dataset, model: trajfmt.Model) -> None:
    """The folder is MTT's, and every timestep has weights of its own."""
    run = experts.ExpertRun.prepare("digits", tmp_path, model="ConvNetD2W4", experts=2, epochs=3, lr=0.05,
                                    batch_size=500)  # fmt: skip
    for _ in run.events():
        pass
    path = tmp_path / "digits_NO_ZCA" / "ConvNetD2W4" / "replay_buffer_0.pt"
    stored = torch.load(path, weights_only=True)
    theta = trained(digits, model)[1]
    for trajectory, expected in zip(stored, theta, strict=True):
        for step, row in zip(trajectory, expected, strict=True):
            flat = torch.cat([tensor.reshape(-1) for tensor in step])
            assert np.array_equal(flat.numpy(), row)


def test_existing_destination_is_refused(tmp_path: Path) -> None:
    """Neither a bundle nor a buffer is touched once it exists."""
    (tmp_path / "out.mct").mkdir()
    (tmp_path / "out.mct" / "manifest.json").touch()
    with pytest.raises(ExistsError, match=r"out\.mct exists"):
        experts.ExpertRun.prepare("digits", tmp_path / "out.mct")
    (tmp_path / "digits_NO_ZCA" / "ConvNetD2W32").mkdir(parents=True)
    (tmp_path / "digits_NO_ZCA" / "ConvNetD2W32" / "replay_buffer_0.pt").touch()
    with pytest.raises(ExistsError, match="ConvNetD2W32 exists"):
        experts.ExpertRun.prepare("digits", tmp_path)


def test_settings_known_for_the_dataset_are_used() -> None:
    """What is not given comes from the table of recipes."""
    run = experts.ExpertRun.prepare("digits", Path("absent.mct"), epochs=2)
    assert (run.config.epochs, run.config.lr, run.model.width) == (2, 0.05, 32)


@pytest.mark.parametrize(
    "setting", [{"experts": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"batch_size": 0}, {"seed": -1}]
)
def test_bad_setting_is_refused(setting) -> None:
    """Settings are checked before anything is trained, and the setting is named."""
    with pytest.raises(ConfigError, match=f"`{next(iter(setting))}`"):
        experts.ExpertRun.prepare("digits", Path("absent.mct"), **setting)
