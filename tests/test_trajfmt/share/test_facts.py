"""Facts in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.helpers.carried import Carrier
from trajfmt import Provenance, TimestepUnit, create
from trajfmt.bundle.report import summarize
from trajfmt.share.facts import rows, sentence


def test_the_facts_of_a_bundle_with_all_of_them(bundle: Path) -> None:
    """Each is a row, with numbers in a readable form."""
    found = dict(rows(summarize(bundle)))
    assert found["trajectories"] == "2"
    assert found["timesteps of each"] == "6"
    assert found["one timestep is"] == "one epoch"
    assert found["knots"] == "0, 5"
    assert found["parameters of the network"] == "120 F32, 2 tensors"
    assert found["preprocessing"] == "kind normalize, mean 0.4914 0.4822 0.4465, std 0.2023 0.1994 0.201"
    assert found["training"] == "batch_size 256, lr 0.01"
    assert found["converted from"] == "2 source files"
    assert found["network"].startswith("ConvNetD3W128 (family ConvNet, depth 3")


def test_what_is_unknown_has_no_row(make: Callable[..., Path]) -> None:
    """Nothing is said of a data set, a network or a recipe that nobody stated."""
    summary = summarize(make("plain.mtt", count=1, provenance=Provenance()))
    assert {"data set", "network", "preprocessing", "training", "knots"}.isdisjoint(dict(rows(summary)))
    assert dict(rows(summary))["codec"] == "none"
    assert sentence(summary) == "1 full training trajectory, 6 timesteps each, in the format trajfmt 1.0."


def test_uneven_timesteps_are_not_one_step_each(layout, walk, tmp_path: Path) -> None:
    """The last checkpoint of a training is nearer than the others: its numbers are said, and no unit."""
    about = Provenance(timestep=TimestepUnit(kind="step"))
    with create(tmp_path / "a.mct", layout, encoding="convex", provenance=about) as writer:
        writer.add(Carrier(walk(layout, timesteps=4), layout, numbers=(500, 1000, 1500, 1873)))
    found = dict(rows(summarize(tmp_path / "a.mct")))
    assert found["timesteps are"] == "steps 500 to 1873, unevenly spaced"
    assert "one timestep is" not in found
