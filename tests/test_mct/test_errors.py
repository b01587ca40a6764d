"""Every error of mct has an exit code."""

import pytest

pytest.importorskip("torch")
import mct


def test_every_error_has_an_exit_code() -> None:
    """The command line needs nothing but the class."""
    errors = [getattr(mct, name) for name in mct.__all__ if name.endswith("Error")]
    assert {error.__name__: error.exit_code for error in errors} == {
        "MctError": 1, "MismatchError": 1, "DivergedError": 1, "ExhaustedError": 1, "RankError": 1,
        "ConfigError": 2, "DataError": 2, "ExistsError": 2, "MissingError": 2, "ResultError": 3,
        "CorruptError": 4,
    }  # fmt: skip
    assert all(issubclass(error, mct.MctError) for error in errors)
