"""The public names of mct."""

import pytest

pytest.importorskip("torch")

import mct

PUBLIC = """
Accuracy ArchitectureTested Comparison ConfigError CorruptError DataError Dataset DistillConfig Distiller
DivergedError EvaluateConfig Evaluated ExhaustedError ExistsError ExpertConfig ExpertDone ExpertEpoch
ExpertRun ExpertsFound Gradients MctError MismatchError MissingError NetworkTrained Note OuterStep Problem
RankError ResultError RunFolder SyntheticDataset Unroll distill train_experts
"""


def test_public_names_are_these() -> None:
    """A change of the public API is always deliberate."""
    assert sorted(mct.__all__) == sorted(PUBLIC.split())
    assert all(hasattr(mct, name) for name in mct.__all__)


def test_every_error_has_an_exit_code() -> None:
    """The command line needs nothing but the class."""
    errors = [getattr(mct, name) for name in mct.__all__ if name.endswith("Error")]
    assert {error.__name__: error.exit_code for error in errors} == {
        "MctError": 1, "MismatchError": 1, "DivergedError": 1, "ExhaustedError": 1, "RankError": 1,
        "ConfigError": 2, "DataError": 2, "ExistsError": 2, "MissingError": 2, "ResultError": 3,
        "CorruptError": 4,
    }  # fmt: skip
    assert all(issubclass(error, mct.MctError) for error in errors)
