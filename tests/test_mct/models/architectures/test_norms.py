"""Normalisation layers by name."""

import pytest

torch = pytest.importorskip("torch")
from tests.helpers.networks import build, shared  # noqa: E402


@pytest.mark.parametrize(("name", "kind"), [
    ("VGG11", "GroupNorm"),
    ("ResNet18_AP", "GroupNorm"),
    ("VGG11BN", "BatchNorm2d"),
    ("ResNet18BN", "BatchNorm2d"),
])  # fmt: skip
def test_norms(name: str, kind: str) -> None:
    """Instance norm is one group per channel; batch norm starts with mean 0, variance 1, weights 1 and 0."""
    norms = [module for module in shared(name).modules() if "Norm" in type(module).__name__]
    assert {type(norm).__name__ for norm in norms} == {kind}
    assert all(bool((norm.weight == 1).all()) and bool((norm.bias == 0).all()) for norm in norms)
    if kind == "GroupNorm":
        assert all(norm.num_groups == norm.num_channels for norm in norms)
    else:
        fresh = build(name).modules()
        states = [module for module in fresh if type(module).__name__ == kind]
        assert all(bool((norm.running_mean == 0).all()) for norm in states)
        assert all(bool((norm.running_var == 1).all()) and norm.num_batches_tracked == 0 for norm in states)
