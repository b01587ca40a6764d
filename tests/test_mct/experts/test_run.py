"""Runs that train experts: where they write, what they refuse, and how they continue."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError, ExistsError  # noqa: E402
from mct.events import ExpertsFound  # noqa: E402
from mct.experts.run import ExpertRun  # noqa: E402
from tests.helpers.experts import run_of, stop_after  # noqa: E402
from tests.helpers.folders import contents  # noqa: E402
from tests.helpers.pupils import trained  # noqa: E402


def test_groups_are_continued_and_grow(tmp_path: Path) -> None:
    """An interrupted run of groups continues one by one, and ends with the same bytes."""
    small = {"experts": 5, "epochs": 2, "batch_size": 2000}
    for _ in run_of(tmp_path / "whole.mct", **small).events():
        pass
    stop_after(run_of(tmp_path / "out.mct", at_once=2, **small), 3)
    events = list(run_of(tmp_path / "out.mct", at_once=3, **small).events())
    assert events[0] == ExpertsFound(count=4)  # a group is kept as a whole
    assert contents(tmp_path / "out.mct") == contents(tmp_path / "whole.mct")
    with pytest.raises(ConfigError, match="`at_once`"):
        run_of(tmp_path / "other.mct", at_once=0)


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_bundle_round_trip(tmp_path: Path, digits: Dataset, model: trajfmt.Model, suffix: str) -> None:
    """The bundle holds the trajectories and says how they came about."""
    path = tmp_path / f"out{suffix}"
    run = run_of(path)
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
    run = run_of(tmp_path)
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
        ExpertRun.prepare("digits", tmp_path / "out.mct")
    (tmp_path / "digits_NO_ZCA" / "ConvNetD2W32").mkdir(parents=True)
    (tmp_path / "digits_NO_ZCA" / "ConvNetD2W32" / "replay_buffer_0.pt").touch()
    with pytest.raises(ExistsError, match="ConvNetD2W32 exists"):
        next(ExpertRun.prepare("digits", tmp_path).events())


def test_settings_known_for_the_dataset_are_used() -> None:
    """What is not given comes from the table of recipes."""
    run = ExpertRun.prepare("digits", Path("absent.mct"), epochs=2)
    assert (run.config.epochs, run.config.lr, run.model.width) == (2, 0.05, 32)


@pytest.mark.parametrize(
    "setting", [{"experts": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"batch_size": 0}, {"seed": -1}]
)
def test_bad_setting_is_refused(setting) -> None:
    """Settings are checked before anything is trained, and the setting is named."""
    with pytest.raises(ConfigError, match=f"`{next(iter(setting))}`"):
        ExpertRun.prepare("digits", Path("absent.mct"), **setting)


@pytest.mark.parametrize("rules", [{"knots": (1,)}, {"average": 3}])
def test_convexified_bundle_equals_the_converted_buffer(tmp_path: Path, rules: dict) -> None:
    """The full trajectory never exists, and every byte but the provenance is that of a conversion."""
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert

    for _ in run_of(tmp_path / "direct.mct", **rules).events():
        pass
    for _ in run_of(tmp_path / "buffers").events():
        pass
    convert(
        tmp_path / "buffers" / "digits_NO_ZCA" / "ConvNetD2W4",
        tmp_path / "converted.mct",
        ConvertOptions(**rules),
    )
    ours, theirs = contents(tmp_path / "direct.mct"), contents(tmp_path / "converted.mct")
    assert ours.pop("manifest.json") != theirs.pop("manifest.json")
    assert len(ours) == 4
    assert ours == theirs


def test_knots_must_fit(tmp_path: Path) -> None:
    """Before any expert is trained."""
    with pytest.raises(ConfigError, match="less than the last timestep, 3"):
        run_of(tmp_path / "out.mct", knots=(3,))
    with pytest.raises(ConfigError, match=r"--out NAME\.mct"):
        run_of(tmp_path / "out.mtt", knots=(1,))
    with pytest.raises(ConfigError, match="means of 4 timesteps need 5 timesteps, but training records 4"):
        run_of(tmp_path / "out.mct", average=4)


def test_replay_buffers_of_raw_images_are_refused(tmp_path: Path) -> None:
    """No folder of MTT says that images were not preprocessed; they would be taken for normalised ones."""
    with pytest.raises(ConfigError, match=r"write a bundle: --out NAME\.mtt"):
        run_of(tmp_path / "buffers", preprocessing="none")
    with pytest.raises(ConfigError, match="a timestep for every epoch"):
        run_of(tmp_path / "buffers", steps_per_timestep=2)
    assert run_of(tmp_path / "raw.mtt", preprocessing="none").dataset.transform.record.kind == "none"
