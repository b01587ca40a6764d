"""The numbers of the paper agree with each other."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from mct.reproduce import published
from mct.settings import presets


def test_table_1_has_the_best_of_table_3() -> None:
    """The paper took MCT's numbers on CIFAR-10 from there."""
    for ipc, values in published.TABLE3.items():
        found = published.table1("CIFAR-10", "MCT", ipc)
        assert found is not None
        assert found.mean == max(value.mean for value in values)


def test_presets_state_the_numbers_of_table_1() -> None:
    """Those of MTT and MCT, wherever a preset has an accuracy: two copies of one table."""
    names = {"CIFAR10": "CIFAR-10", "CIFAR100": "CIFAR-100", "Tiny": "Tiny-ImageNet"}
    compared = 0
    for preset in presets.PRESETS.values():
        if preset.method in ("mtt", "mct") and preset.accuracy and preset.dataset in names:
            value = published.table1(names[preset.dataset], preset.method.upper(), preset.ipc)
            assert value is not None
            assert preset.accuracy == f"{value.mean} ± {value.std}"
            compared += 1
    assert compared > 15


def test_dashes_are_no_numbers() -> None:
    """Where the paper has a dash, there is nothing to compare with."""
    assert published.table1("Tiny-ImageNet", "PP", 1) is None
    assert published.table1("CIFAR-10", "MCT", 2) is None
    assert len(published.TABLE2["discrete"]) == len(published.COUNTS)
