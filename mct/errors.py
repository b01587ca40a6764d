"""The errors that mct raises, with the exit codes of the commands.

    MctError                              1
    ├── ConfigError (ValueError)          2   a setting is invalid
    ├── DataError (ValueError)            2   a dataset is unknown or cannot be read
    ├── ExistsError (FileExistsError)     2   an output exists already
    ├── MissingError (FileNotFoundError)  2   an input does not exist
    ├── MismatchError (ValueError)        1   two inputs do not belong together
    ├── DivergedError (ArithmeticError)   1   a distillation diverged
    ├── ExhaustedError (MemoryError)      1   memory is exhausted
    ├── RankError                         1   another process of the run died or failed
    │   └── AbsentError                   1   other processes of the run did not start
    ├── ResultError (ValueError)          3   a file is of no known kind
    └── CorruptError (ValueError)         4   a file is damaged

Every message states where the problem is, what was expected, what was found, and what to do next. This module
imports nothing from mct.
"""

from typing import ClassVar


class MctError(Exception):
    """Base class of all errors that mct raises deliberately."""

    exit_code: ClassVar[int] = 1
    """Exit code of the commands for this error."""

    elsewhere: ClassVar[bool] = False
    """Whether the cause is in another process of the run, which reports it."""


class ConfigError(MctError, ValueError):
    """A setting is out of range, or contradicts another one."""

    exit_code: ClassVar[int] = 2


class DataError(MctError, ValueError):
    """A dataset is unknown, or its files are missing, damaged or invalid."""

    exit_code: ClassVar[int] = 2


class ExistsError(MctError, FileExistsError):
    """An output exists already and must not be replaced."""

    exit_code: ClassVar[int] = 2


class MissingError(MctError, FileNotFoundError):
    """An input file, or the run to resume, does not exist."""

    exit_code: ClassVar[int] = 2


class MismatchError(MctError, ValueError):
    """Two inputs, such as a bundle and a network or a dataset, do not belong together."""

    exit_code: ClassVar[int] = 1


class DivergedError(MctError, ArithmeticError):
    """A distillation diverged: a loss, a gradient or the learning rate is not finite or out of range."""

    exit_code: ClassVar[int] = 1


class ExhaustedError(MctError, MemoryError):
    """A step needs more memory than is available."""

    exit_code: ClassVar[int] = 1


class RankError(MctError):
    """Another process of the run died, failed or left."""

    exit_code: ClassVar[int] = 1
    elsewhere: ClassVar[bool] = True


class AbsentError(RankError):
    """Other processes of the run did not start in time. Each process says whom it has waited for."""

    elsewhere: ClassVar[bool] = False


class ResultError(MctError, ValueError):
    """A file is neither a file of mct nor of another known layout, or its layout is not supported."""

    exit_code: ClassVar[int] = 3


class CorruptError(MctError, ValueError):
    """A file of mct is damaged, or a file of another codebase does not have the content of its layout."""

    exit_code: ClassVar[int] = 4


def first_line(exc: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its class if there is no message."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
