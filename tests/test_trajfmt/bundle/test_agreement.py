"""Whether what is said of a trajectory agrees with the bundle that it is added to."""

from __future__ import annotations

import pytest

import trajfmt
from trajfmt import Provenance, TimestepUnit, UsageError
from trajfmt.bundle.agreement import require_same_facts, require_timestep


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


def test_facts_that_are_given_must_be_those_of_the_bundle() -> None:
    """Fewer are no contradiction; others are, and so is a unit of timesteps that the bundle does not have."""
    step = TimestepUnit(kind="step", every=5)
    known = Provenance(dataset="CIFAR10", timestep=step)
    require_same_facts("b.mct", known, Provenance(dataset="CIFAR10"))
    require_same_facts("b.mct", known, known)
    for given in (Provenance(dataset="MNIST"), Provenance(recipe={"lr": 0.1})):
        with pytest.raises(UsageError, match=r"^b\.mct: its (dataset|recipe) is .*, `provenance` says"):
            require_same_facts("b.mct", known, given)
    with pytest.raises(UsageError, match="its timestep is unknown, `provenance` says kind step, every 5"):
        require_same_facts("b.mct", Provenance(dataset="CIFAR10"), Provenance(timestep=step))
