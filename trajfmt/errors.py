"""Every error that trajfmt raises, with the exit code that the commands give for it.

    TrajfmtError                    exit 1   base of all
    ├── UsageError (ValueError)     exit 2   an argument is wrong
    │   ├── TimestepError           exit 2   a timestep outside [0, T], or fractional where none exists
    │   ├── MissingError            exit 2   a path that is to be read does not exist
    │   └── ExistsError             exit 2   the destination exists and was not to be replaced
    ├── SourceError (ValueError)    exit 1   input to a conversion that must not be converted
    ├── FormatError (ValueError)             a bundle or a source file is not what it must be
    │   ├── NotABundleError         exit 3   not a bundle, or needs a version or feature unknown here
    │   ├── CorruptError            exit 4   damaged
    │   └── UnsafeError             exit 5   refused, because reading it could do harm
    ├── WriteError (OSError)        exit 1   the destination cannot be written
    ├── RemoteError                 exit 1   an address cannot be reached, or a file did not arrive
    └── MissingDependencyError      exit 1   a part needs a package that is not installed

`SourceError` and `FormatError` carry `reason`, a code of `spec/v1/spec.md`: match on it, never on the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = [
    "REASONS",
    "CorruptError",
    "ExistsError",
    "FormatError",
    "MissingDependencyError",
    "MissingError",
    "NotABundleError",
    "Problem",
    "Reason",
    "RemoteError",
    "SourceError",
    "TimestepError",
    "TrajfmtError",
    "UnsafeError",
    "UsageError",
    "WriteError",
    "aliased",
    "display",
    "lacks_memory",
    "no_motion",
    "non_finite",
]

Reason = Literal[
    # not a bundle, or not for this reader: exit 3
    "not_a_bundle",
    "unknown_version",
    "unknown_feature",
    # damaged: exit 4
    "manifest_invalid",
    "manifest_inconsistent",
    "file_missing",
    "file_size_mismatch",
    "hash_mismatch",
    "header_invalid",
    "header_mismatch",
    "chunk_invalid",
    "beta_invalid",
    "non_finite",
    "source_truncated",
    "source_invalid",
    # refused: exit 5
    "manifest_too_large",
    "path_unsafe",
    "size_overflow",
    "header_too_large",
    "hdf5_unsafe",
    "pickle_unsafe",
    # a source that must not be converted: exit 1
    "aliased_timesteps",
    "no_motion",
    "too_few_timesteps",
    "mixed_architectures",
    "mixed_dtypes",
    "unpaired_file",
    "pair_mismatch",
    "duplicate_trajectory",
    "source_changed",
    "nothing_to_convert",
]
"""Why something is refused. The same codes, with their meaning, are in `spec/v1/spec.md`."""

REASONS: Final[tuple[str, ...]] = get_args(Reason)


def display(text: object) -> str:
    r"""Return `text` as one printable line: control characters of a stranger's file are escaped.

    >>> display("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


_NO_MEMORY: Final = (
    "out of memory",
    "can't allocate memory",
    "DefaultCPUAllocator",
    "STATUS_ALLOC_FAILED",
    "bad_alloc",
)


def lacks_memory(exc: BaseException) -> bool:
    """Return whether an error says that memory ran out; torch and CUDA say it in a RuntimeError.

    Example:
        >>> lacks_memory(MemoryError()), lacks_memory(RuntimeError("shapes do not match"))
        (True, False)
    """
    if isinstance(exc, MemoryError):
        return True
    return isinstance(exc, RuntimeError) and any(words in str(exc) for words in _NO_MEMORY)


class TrajfmtError(Exception):
    """Base of all errors of this package."""

    exit_code: int = 1


class UsageError(TrajfmtError, ValueError):
    """An argument is wrong."""

    exit_code = 2


class TimestepError(UsageError, IndexError):
    """A timestep lies outside [0, T], or is fractional where only whole ones exist."""


class MissingError(UsageError, FileNotFoundError):
    """A path that is to be read does not exist."""


class ExistsError(UsageError, FileExistsError):
    """The destination exists and was not to be replaced."""


class WriteError(TrajfmtError, OSError):
    """The destination cannot be written: the disk is full, or the folder not writable."""


class RemoteError(TrajfmtError):
    """An address cannot be reached or refuses access, or what it sent did not arrive or cannot be kept."""


class MissingDependencyError(TrajfmtError, ImportError):
    """A part of the package needs another one that is not installed."""


class _LocatedError(TrajfmtError, ValueError):
    """An error with a reason code and a place."""

    def __init__(self, reason: Reason, message: str, *, path: object = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.path = None if path is None else str(path)

    def __str__(self) -> str:
        where = "" if self.path is None else f"{display(self.path)}: "
        return f"{where}{display(self.message)} [{self.reason}]"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.reason, self.message, self.path))


def _rebuild(kind: type[_LocatedError], reason: Reason, message: str, path: str | None) -> _LocatedError:
    return kind(reason, message, path=path)


class SourceError(_LocatedError):
    """Input to a conversion that must not be converted; `reason` says why."""

    exit_code = 1
    timestep: int | None = None
    """Where a weight is not finite."""

    parameter: str = ""


class FormatError(_LocatedError):
    """A bundle, or a file to be read, is not what it must be; `reason` says why."""


class NotABundleError(FormatError):
    """Not a bundle, or one that needs a version or feature which this library does not know."""

    exit_code = 3


class CorruptError(FormatError):
    """A damaged bundle or file."""

    exit_code = 4


class UnsafeError(FormatError):
    """Refused, because reading it could do harm."""

    exit_code = 5


def non_finite(timestep: int, parameter: str, why: str = "") -> SourceError:
    """Return the error for a weight that is not finite, or is not when it is stored."""
    where = f"timestep {timestep}, parameter `{display(parameter)}`"
    error = SourceError("non_finite", f"weights must be finite: {where}{why and ': ' + why}")
    error.timestep, error.parameter = timestep, parameter
    return error


def aliased(timesteps: int, path: object) -> SourceError:
    """Return the error for a trajectory whose timesteps were saved as one."""
    return SourceError(
        "aliased_timesteps",
        f"all {timesteps} timesteps are one and the same memory: only the last weights were saved. MTT's"
        " buffer.py does this on a CPU, where `.cpu()` does not copy; save `p.detach().clone()` and train"
        " again",
        path=path,
    )


def no_motion() -> SourceError:
    """Return the error for a trajectory that stands still."""
    return SourceError(
        "no_motion",
        "the weights are the same at every timestep: nothing was trained, or every timestep was saved as one"
        " and the same",
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of a validation."""

    reason: Reason
    """What is wrong, as a code."""

    where: str
    """The file, and the key or trajectory in it."""

    message: str
    """What was expected and what was found."""

    exit_code: int
    """The exit code that this problem alone would give."""

    @classmethod
    def of(cls, error: FormatError) -> Problem:
        """Return the problem that an error reports."""
        return cls(error.reason, error.path or "", error.message, error.exit_code)

    def __str__(self) -> str:
        return f"{display(self.where)}: {display(self.message)} [{self.reason}]"
