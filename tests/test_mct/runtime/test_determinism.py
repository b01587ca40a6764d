"""Deterministic algorithms, and the environment without which matrix products may differ."""

import os

import pytest

torch = pytest.importorskip("torch")

from mct.runtime.determinism import compute_deterministically  # noqa: E402


@pytest.mark.parametrize(
    ("before", "after"), [(None, ":4096:8"), (":0:0", ":4096:8"), (":16:8", ":16:8"), (":4096:8", ":4096:8")]
)
def test_workspace_is_one_that_repeats(monkeypatch, before: str | None, after: str) -> None:
    """A value of the user's stays if it is one; torch is asked for deterministic algorithms only."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if before is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before)
    filled = torch.utils.deterministic.fill_uninitialized_memory
    try:
        compute_deterministically()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == after
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.utils.deterministic.fill_uninitialized_memory is False
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
