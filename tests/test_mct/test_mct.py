"""The public names of mct."""

import pytest

pytest.importorskip("torch")

import mct

PUBLIC = """
Accuracy ArchitectureTested Comparison ConfigError CorruptError DataError Dataset DistillConfig DistillRun
Distiller DivergedError EvaluateConfig Evaluated ExhaustedError ExistsError ExpertConfig
ExpertContinued ExpertDone ExpertEpoch ExpertRun ExpertsFound Gradients MctError MismatchError MissingError
NetworkTrained Note OuterStep Problem RankError ResultError RunFolder SyntheticDataset Unroll distill
train_experts
"""


def test_public_names_are_these() -> None:
    """A change of the public API is always deliberate."""
    assert sorted(mct.__all__) == sorted(PUBLIC.split())
    assert all(hasattr(mct, name) for name in mct.__all__)
    assert dir(mct) == sorted(mct.__all__)
