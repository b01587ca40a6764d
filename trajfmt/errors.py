"""Errors that trajfmt raises, with the exit code that the commands return for each.

    TrajfmtError                    exit 1   base class of all errors
    ├── UsageError (ValueError)     exit 2   an argument is invalid
    │   ├── TimestepError           exit 2   a timestep is outside [0, T], or not whole where it must be
    │   ├── MissingError            exit 2   an input path does not exist
    │   ├── ExistsError             exit 2   the destination exists and replacing it was not requested
    │   └── LockedError             exit 2   another process is writing to the destination
    ├── SourceError (ValueError)    exit 1   the input of a conversion must not be converted
    ├── FormatError (ValueError)             a bundle or source file does not follow its format
    │   ├── NotABundleError         exit 3   not a bundle, or one that needs an unknown version or feature
    │   ├── CorruptError            exit 4   the file is damaged
    │   └── UnsafeError             exit 5   refused, because reading the file could do harm
    ├── ReadError (OSError)         exit 1   an input cannot be read, and nothing says that it is damaged
    ├── WriteError (OSError)        exit 1   the destination cannot be written
    ├── UnsavedError                exit 1   a recorded trajectory is kept elsewhere than it should be
    ├── RemoteError                 exit 1   an address cannot be reached, or a download failed
    └── MissingDependencyError      exit 1   an optional package is not installed

`SourceError` and `FormatError` have an attribute `reason`, one of the codes in `spec/v1/spec.md`. Programs
should compare this code, never the text of a message. Its only warning is `FileSystemWarning`.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = [
    "REASONS",
    "CorruptError",
    "ExistsError",
    "FileSystemWarning",
    "FormatError",
    "LockedError",
    "MissingDependencyError",
    "MissingError",
    "NotABundleError",
    "Problem",
    "ReadError",
    "Reason",
    "RemoteError",
    "SourceError",
    "TimestepError",
    "TrajfmtError",
    "UnsafeError",
    "UnsavedError",
    "UsageError",
    "WriteError",
    "aliased",
    "counted",
    "display",
    "lacks_memory",
    "no_motion",
    "non_finite",
]

Reason = Literal[
    # not a bundle, or one that this version cannot read: exit 3
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
    # refused as unsafe: exit 5
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
"""Machine-readable reason of an error. `spec/v1/spec.md` defines the meaning of each code."""

REASONS: Final[tuple[str, ...]] = get_args(Reason)


def display(text: object) -> str:
    r"""Return `text` as one printable line, with the control characters of untrusted input escaped.

    >>> display("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def counted(number: int, noun: str) -> str:
    """Return a number with a noun in singular or plural, for messages.

    >>> counted(1, "trajectory"), counted(1200, "trajectory"), counted(0, "file")
    ('1 trajectory', '1,200 trajectories', '0 files')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


_NO_MEMORY: Final = (
    "out of memory", "can't allocate memory", "DefaultCPUAllocator", "STATUS_ALLOC_FAILED", "bad_alloc",
)  # fmt: skip


def lacks_memory(exc: BaseException) -> bool:
    """Return whether an exception reports that memory ran out.

    torch and CUDA raise a `RuntimeError` for this, which is recognised by its message.

    Example:
        >>> lacks_memory(MemoryError()), lacks_memory(RuntimeError("shapes do not match"))
        (True, False)
    """
    if isinstance(exc, MemoryError):
        return True
    return isinstance(exc, RuntimeError) and any(words in str(exc) for words in _NO_MEMORY)


class TrajfmtError(Exception):
    """Base class of all errors of this package."""

    exit_code: int = 1


class UsageError(TrajfmtError, ValueError):
    """An argument is invalid."""

    exit_code = 2


class TimestepError(UsageError, IndexError):
    """A timestep is outside [0, T], or is fractional where only whole timesteps exist."""


class MissingError(UsageError, FileNotFoundError):
    """An input path does not exist."""


class ExistsError(UsageError, FileExistsError):
    """The destination exists and replacing it was not requested."""


class LockedError(UsageError):
    """Another process is writing to the destination, or has just done so. A later attempt may succeed."""


class ReadError(TrajfmtError, OSError):
    """An input cannot be read: its disk, its permissions or a limit of the process, not its contents."""

    @classmethod
    def of(cls, exc: OSError, path: object) -> ReadError:
        """Return the error for an error of the operating system while it read `path`."""
        many = exc.errno in (errno.EMFILE, errno.ENFILE)
        hint = "; raise the limit, e.g. with: ulimit -n 65536" if many else ""
        return cls(f"{display(path)}: cannot be read: {exc.strerror or exc}{hint}")


class WriteError(TrajfmtError, OSError):
    """The destination cannot be written, for example because the disk is full or the folder is read-only."""


class UnsavedError(TrajfmtError):
    """A recorded trajectory could not be saved in its bundle; `kept` is the one that has it, if any."""

    kept: str | None = None


class FileSystemWarning(UserWarning):
    """The file system lacks something that protects the user's files. The commands show it as a note."""


class RemoteError(TrajfmtError):
    """An address cannot be reached or denies access, or a download failed or cannot be cached."""


class MissingDependencyError(TrajfmtError, ImportError):
    """A feature needs an optional package that is not installed."""


class _LocatedError(TrajfmtError, ValueError):
    """An error with a reason code and the path of the file that caused it."""

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
    """The input of a conversion must not be converted; `reason` says why."""

    exit_code = 1
    timestep: int | None = None
    """The timestep of a weight that is not finite; None for other reasons."""

    parameter: str = ""
    """The name of the parameter that contains this weight."""


class FormatError(_LocatedError):
    """A bundle or another input file does not follow its format; `reason` says why."""


class NotABundleError(FormatError):
    """The path is not a bundle, or the bundle needs a version or feature that this library does not know."""

    exit_code = 3


class CorruptError(FormatError):
    """A bundle or file is damaged."""

    exit_code = 4


class UnsafeError(FormatError):
    """A file is refused because reading it could do harm."""

    exit_code = 5


def non_finite(timestep: int, parameter: str, why: str = "") -> SourceError:
    """Return the error for a weight that is not finite, or that overflows the type it is stored in.

    Args:
        timestep: the timestep of the weight.
        parameter: the name of the parameter that contains it.
        why: an explanation to append to the message.
    """
    where = f"timestep {timestep}, parameter `{display(parameter)}`"
    error = SourceError("non_finite", f"weights must be finite: {where}{why and ': ' + why}")
    error.timestep, error.parameter = timestep, parameter
    return error


def aliased(timesteps: int, path: object) -> SourceError:
    """Return the error for a trajectory whose timesteps all share one memory."""
    return SourceError(
        "aliased_timesteps",
        f"all {timesteps} timesteps share the same memory, so only the last weights were saved. MTT's"
        " buffer.py does this on a CPU, where `.cpu()` does not copy; save `p.detach().clone()` and train"
        " again",
        path=path,
    )


def no_motion() -> SourceError:
    """Return the error for a trajectory whose weights never change."""
    return SourceError(
        "no_motion",
        "the weights are the same at every timestep: the network was not trained, or the same weights were"
        " saved for every timestep",
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem that a validation found."""

    reason: Reason
    """The reason code."""

    where: str
    """The file, and the key or trajectory in it."""

    message: str
    """What was expected and what was found."""

    exit_code: int
    """The exit code if this were the only problem."""

    @classmethod
    def of(cls, error: FormatError) -> Problem:
        """Return the problem that `error` describes."""
        return cls(error.reason, error.path or "", error.message, error.exit_code)

    def __str__(self) -> str:
        return f"{display(self.where)}: {display(self.message)} [{self.reason}]"
