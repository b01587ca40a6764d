"""The pass over a source that planning and converting share."""

from __future__ import annotations

from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.helpers.conversion import flat, notices, run, save, theta  # noqa: E402
from trajfmt.convert.intake import Intake, located_error  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.planning import plan  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.encodings.table import ENCODINGS  # noqa: E402
from trajfmt.errors import SourceError  # noqa: E402


def _intake(source: Path, encoding: str = "convex", **options: object) -> Intake:
    return Intake(source, ENCODINGS[encoding], ConvertOptions(**options))  # type: ignore[arg-type]


def test_a_trajectory_is_cut_to_the_wanted_timesteps(tmp_path: Path) -> None:
    """t = 0 of what is prepared is timestep 2 of the source, and the layout is the source's."""
    intake = _intake(save(tmp_path / "src", [theta(0)]), "full", timesteps=(2, 6))
    (trajectory,) = intake.parts[0].open(tmp_path)
    prepared = intake.prepare(trajectory, lambda _text: None)
    assert (prepared.source.timesteps, prepared.first) == (4, 2)
    assert prepared.encoder.settings == "codec none"
    weights = [prepared.source.read(1, index) for index in range(len(prepared.layout.parameters))]
    assert np.array_equal(np.concatenate(weights), flat(theta(0))[3])


def test_the_identity_is_that_of_the_first_sound_trajectory(tmp_path: Path) -> None:
    """Another network among the others is refused, and the first one stays what it was."""
    intake = _intake(save(tmp_path / "src", [theta(0), theta(1, shapes=((3, 3), (3,)))]))
    first, second = intake.parts[0].open(tmp_path)
    assert intake.identity is None
    intake.prepare(first, lambda _text: None)
    known = intake.identity
    with pytest.raises(SourceError) as caught:
        intake.prepare(second, pytest.fail)
    assert caught.value.reason == "mixed_architectures"
    assert intake.identity is known


def test_reading_ends_when_the_pass_is_stopped(tmp_path: Path) -> None:
    """A large trajectory takes minutes, which nobody waits for after an error."""
    intake = _intake(save(tmp_path / "src", [theta(0)]))
    (trajectory,) = intake.parts[0].open(tmp_path)
    prepared = intake.prepare(trajectory, lambda _text: None)
    prepared.source.read(0, 0)
    intake.stop()
    with pytest.raises(CancelledError):
        prepared.source.read(0, 0)


def test_an_error_names_its_file_and_trajectory(tmp_path: Path) -> None:
    """Its reason and its type stay."""
    intake = _intake(save(tmp_path / "src", [theta(0)]))
    error = located_error(SourceError("non_finite", "not a number"), intake.parts[0], 3)
    assert type(error) is SourceError
    assert error.reason == "non_finite"
    assert "replay_buffer_0.pt: trajectory 3: not a number" in str(error)


def test_a_window_beyond_the_end_of_some_trajectories_is_said(tmp_path: Path) -> None:
    """Once for each trajectory that is shorter than all before."""
    lengths = (8, 5, 7, 4, 4, 8)
    source = save(tmp_path / "src", [theta(seed, length) for seed, length in enumerate(lengths)])
    said = notices(run(source, tmp_path / "a.mtt", timesteps=(1, 8)))
    told = [f"some trajectories have only {n} timesteps, but 8 were requested" for n in (5, 4)]
    assert [line for line in said.splitlines() if "requested" in line] == told
    assert [each.timesteps for each in trajfmt.open(tmp_path / "a.mtt")] == [n - 1 for n in lengths]
    assert "requested" not in notices(run(source, tmp_path / "b.mtt", timesteps=(1, 4)))


def test_knots_are_counted_in_the_window(tmp_path: Path) -> None:
    """Knot 2 of the timesteps from 3 on is timestep 5 of the source."""
    steps = theta(0)
    run(save(tmp_path / "src", [steps]), tmp_path / "a.mct", timesteps=(3, None), knots=(2,))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        assert bundle[0].knots == (0, 2, 4)
        assert np.array_equal(bundle[0].knot(1), flat(steps)[5])
    with pytest.raises(SourceError, match="must lie between 0 and T = 4"):
        convert(tmp_path / "src", tmp_path / "b.mct", ConvertOptions(timesteps=(3, None), knots=(5,)))


def test_waypoints_are_called_what_the_source_calls_them(tmp_path: Path) -> None:
    """Timestep 2 of checkpoints that are counted from 1 is epoch 3."""
    for epoch, (weights,) in enumerate(theta(0, 6, shapes=((4, 3),)), start=1):
        (tmp_path / "run").mkdir(exist_ok=True)
        torch.save({"w": torch.from_numpy(weights)}, tmp_path / "run" / f"epoch_{epoch}.pt")
    said = notices(run(tmp_path / "run", tmp_path / "a.mct", knots=(2, 4)))
    assert "the waypoints at timesteps 2, 4 are epochs 3, 5 of the source" in said
    said = notices(run(tmp_path / "run", tmp_path / "b.mct", timesteps=(1, 4)))
    assert "timesteps 0 to 2 are epochs 2 to 4 of the source" in said
    assert "of the source" not in notices(run(tmp_path / "run", tmp_path / "c.mct"))


def test_a_file_without_trajectories_is_said(tmp_path: Path) -> None:
    """It is counted among the files, so the bundle would seem to hold it."""
    save(tmp_path / "src", [theta(0)])
    save(tmp_path / "src", [], number=1)
    assert "replay_buffer_1.pt holds no trajectory" in notices(run(tmp_path / "src", tmp_path / "a.mct"))
    assert "replay_buffer_1.pt holds no trajectory" in plan(tmp_path / "src").notices
