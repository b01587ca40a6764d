"""Whether what is said of a trajectory agrees with the bundle that it is added to."""

from __future__ import annotations

import pytest

import trajfmt
from trajfmt import UsageError
from trajfmt.bundle.agreement import require_timestep


@pytest.mark.parametrize(
    ("kind", "stated", "every", "fits"),
    [
        ("step", 5, 2, False),
        ("step", 5, 10, False),
        ("step", 5, 1, True),
        ("step", 5, 5, True),
        ("step", 6, 2, True),
        ("epoch", 1, 2, True),
        (None, 1, 2, True),
    ],
)
def test_timesteps_are_a_multiple_of_calls_apart(
    kind: str | None, stated: int, every: int, fits: bool
) -> None:
    """A call follows whole steps, but perhaps a part of an epoch; what is unknown agrees with everything."""
    unit = None if kind is None else trajfmt.TimestepUnit(kind=kind, every=stated)  # type: ignore[arg-type]
    known = trajfmt.Provenance(timestep=unit)
    if fits:
        require_timestep("a.mct", known, every)
        return
    with pytest.raises(UsageError, match=r"a\.mct: its timesteps are 5 step") as caught:
        require_timestep("a.mct", known, every)
    assert f"`every`, {every};" in str(caught.value)
