"""What a trajectory says that has only shapes and numbers."""

from __future__ import annotations

from trajfmt.sources.base.trajectories import Plain


def test_a_plain_trajectory_knows_no_names_and_no_files() -> None:
    """Timesteps are counted from 0, and there are no module buffers."""
    plain = Plain()
    assert (plain.names, plain.numbers, plain.file_of(0), plain.buffers(0)) == (None, None, None, {})
