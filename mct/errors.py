"""The errors of mct, and the first line of any error; no imports.

    MctError                      exit code 1
    ├── ConfigError (ValueError)          2   a setting that cannot be used
    ├── DataError (ValueError)            2   a dataset that is unknown or cannot be read
    ├── ExistsError (FileExistsError)     2   an output that would be overwritten
    ├── MissingError (FileNotFoundError)  2   an input that is not there
    ├── MismatchError (ValueError)        1   two things that should fit do not
    ├── DivergedError (ArithmeticError)   1   distillation left the finite numbers
    ├── ExhaustedError (MemoryError)      1   memory, or that of the device, was not enough
    ├── RankError                         1   another process of the run has died or failed
    ├── ResultError (ValueError)          3   a file that is no result of mct, and no distilled images known
    └── CorruptError (ValueError)         4   one that is damaged

Each class carries `exit_code`, which the command line returns, and `elsewhere`: whether the cause is in
another process, which says it itself. Every message says where, what
was expected, what was found and what to do.
"""

from typing import ClassVar


class MctError(Exception):
    """Base class of every error that mct raises on purpose."""

    exit_code: ClassVar[int] = 1
    elsewhere: ClassVar[bool] = False


class ConfigError(MctError, ValueError):
    """A setting is outside its range, or contradicts another one."""

    exit_code: ClassVar[int] = 2


class DataError(MctError, ValueError):
    """A dataset is not known, or its file does not hold what it should."""

    exit_code: ClassVar[int] = 2


class ExistsError(MctError, FileExistsError):
    """An output exists already and was not to be replaced."""

    exit_code: ClassVar[int] = 2


class MissingError(MctError, FileNotFoundError):
    """An input file, or the run to continue, is not there."""

    exit_code: ClassVar[int] = 2


class MismatchError(MctError, ValueError):
    """A bundle, a network and a dataset do not fit together."""

    exit_code: ClassVar[int] = 1


class DivergedError(MctError, ArithmeticError):
    """Distillation cannot go on: a loss, gradient or step size is not usable."""

    exit_code: ClassVar[int] = 1


class ExhaustedError(MctError, MemoryError):
    """A step needs more memory than there is."""

    exit_code: ClassVar[int] = 1


class RankError(MctError):
    """Another of the processes that share a run has died, failed or left."""

    exit_code: ClassVar[int] = 1
    elsewhere: ClassVar[bool] = True


class ResultError(MctError, ValueError):
    """A file is not a synthetic dataset or a state that mct wrote, nor of a layout that is known."""

    exit_code: ClassVar[int] = 3


class CorruptError(MctError, ValueError):
    """A file that mct wrote is damaged, or one of another codebase does not hold what its layout says."""

    exit_code: ClassVar[int] = 4


def first_line(exc: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
