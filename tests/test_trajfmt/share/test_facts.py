"""Facts in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trajfmt import Provenance
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
