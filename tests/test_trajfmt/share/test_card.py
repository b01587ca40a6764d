"""The card of a repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.test_trajfmt.share.conftest import PROVENANCE
from trajfmt import Model, Provenance
from trajfmt.bundle.report import summarize
from trajfmt.share.card import card


def test_the_metadata_is_what_the_hub_reads(bundle: Path) -> None:
    """The client's own reader finds license, library, tags and the data set's repository."""
    client = pytest.importorskip("huggingface_hub")
    summary = summarize(bundle)
    text = card(summary, name="two.mct", address="hf://me/experts", license="cc-by-4.0")
    data = client.ModelCard(text).data
    assert (data.license, data.library_name, data.datasets) == ("cc-by-4.0", "trajfmt", ["uoft-cs/cifar10"])
    assert data.tags[:2] == ["trajfmt", "training-trajectories"]
    other = client.DatasetCard(card(summary, name="two.mct", kind="dataset")).data.to_dict()
    assert other["viewer"] is False
    assert "license" not in other
    assert "datasets" not in other


def test_it_says_how_the_bundle_is_read(bundle: Path) -> None:
    """By its address, with the extra that is needed there; equal bundles have equal cards."""
    summary = summarize(bundle)
    text = card(summary, name="two.mct", address="hf://me/experts@v1/two.mct")
    assert "With the Python package `trajfmt` and its extra `hub` installed:" in text
    assert 'trajfmt.open("hf://me/experts@v1/two.mct")' in text
    assert "traj pull hf://me/experts@v1/two.mct two.mct\n" in text
    assert "its extra `remote` installed:" in card(summary, name="a", address="https://h/a b.mct")
    assert "traj inspect 'https://h/a b.mct'" in card(summary, name="a", address="https://h/a b.mct")
    plain = card(summary, name="two.mct")
    assert "With the Python package `trajfmt` installed:" in plain
    assert "traj pull" not in plain
    assert plain == card(summarize(bundle), name="two.mct")


def test_hostile_facts_stay_facts(make: Callable[..., Path]) -> None:
    """Names in a bundle cannot end a table, add markup, or add metadata."""
    name = "a|b\n---\nlicense: mit\n<script>[x](y)"
    text = card(summarize(make(provenance=Provenance(dataset=name))), name="x`y", license='m"it\n- a')
    head, _, body = text.removeprefix("---\n").partition("---\n")
    assert head.splitlines()[0] == r'license: "m\"it\n- a"'
    assert "mit\n" not in head
    assert "\n---\nlicense" not in body
    assert r"| data set | a\|b\\n---\\nlicense: mit\\n\<script\>\[x\](y) |" in body


@pytest.mark.parametrize(
    "changed",
    [
        {"model": None},
        {"model": Model(family="ConvNet", depth=1, width=8, channels=3, classes=4, image_size=32)},
        {"model": Model(family="ConvNet", depth=1, width=8, channels=3, classes=10, image_size=8)},
        {"recipe": {"dataset_file": "CIFAR10.npz"}},
    ],
)
def test_a_data_set_of_the_same_name_has_no_repository(make: Callable[..., Path], changed: Any) -> None:
    """Four classes, images of 8 pixels, or a file of the user: it is not linked to the published one."""
    about = msgspec.structs.replace(PROVENANCE, **changed)
    assert "uoft-cs" not in card(summarize(make(provenance=about)), name="two.mct")
