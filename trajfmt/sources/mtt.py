"""MTT's buffers: `replay_buffer_{n}.pt`, a pickled list of trajectories of timesteps of tensors.

Owns every trap of that layout. Needs torch, but imports it only when a file is opened, so that a bundle
can be converted without it. Tensors stay in the mapped file: anonymous memory holds no weights.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, MissingDependencyError, SourceError, UnsafeError, UsageError, display
from trajfmt.files import sha256_mapped
from trajfmt.layout import DTYPES, Dtype, ParamLayout
from trajfmt.manifest import Provenance
from trajfmt.sources.base import Shapes

__all__ = ["MttCollection", "MttPart", "TensorTrajectory", "load"]

_GLOBAL: Final = re.compile(r"(?:Unsupported (?:global|class|operand)|GLOBAL) `?([A-Za-z_][\w.]*)")
_NUMBERED: Final = re.compile(r"replay_buffer_(\d+)\.pt")
_SHOWN: Final = 8
"""Missing numbers that a remark names."""

_SAFE_TORCH: Final = (2, 10)
"""First release whose weights-only unpickler has CVE-2025-32434 and CVE-2026-24747 fixed."""


class MttCollection:
    """A folder of `replay_buffer_*.pt`, or one such file."""

    layout_name = "MTT buffer"
    layout: ParamLayout | None = None
    provenance = Provenance()
    convex = False

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        self.notices: list[str] = []
        if path.is_file():
            self.folder = path.parent
            files = [path]
        else:
            self.folder = path
            numbered = sorted(
                (int(match[1]), file)
                for file in path.iterdir()
                if (match := _NUMBERED.fullmatch(file.name)) and file.is_file()
            )
            files = [file for _, file in numbered]
            if not files:
                raise SourceError("nothing_to_convert", "no replay_buffer_<n>.pt in this folder", path=path)
            self._check_numbers([number for number, _ in numbered])
            if (path / "checkpoint.pt").exists():
                self.notices.append("checkpoint.pt is no buffer and is left out (EDF keeps experts there)")
        self.parts: Sequence[MttPart] = [MttPart(file, trust_pickle=trust_pickle) for file in files]

    def _check_numbers(self, numbers: list[int]) -> None:
        """Remark on a numbering that MTT's own reader would not get through."""
        missing: list[int] = []
        expected = 0
        for number in numbers:
            missing += range(expected, min(number, expected + _SHOWN + 1 - len(missing)))
            expected = number + 1
        if missing:
            shown = ", ".join(map(str, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
            gaps = any(b - a > 1 for a, b in itertools.pairwise(numbers))
            what = "has gaps" if gaps else "does not start at 0"
            self.notices.append(
                f"the numbering {what} (no file {shown}): MTT's reader would miss files, all are used here"
            )


class MttPart:
    """One `replay_buffer_{n}.pt`."""

    verifies = False

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        self.path = path
        self._trust = trust_pickle

    def sha256(self) -> str:
        """Return the file's hash."""
        return sha256_mapped(self.path.resolve())

    def open(self, scratch: Path) -> Sequence[TensorTrajectory]:
        """Return the file's trajectories; a zip file is mapped, a legacy pickle is read as a whole."""
        del scratch
        buffer = load(self.path, trust_pickle=self._trust)
        if not isinstance(buffer, (list, tuple)):
            raise CorruptError(
                "source_invalid",
                f"an MTT buffer is a list of trajectories, this holds {type(buffer).__name__}",
                path=self.path,
            )
        return [TensorTrajectory(item, number, self.path) for number, item in enumerate(buffer)]


def load(path: Path, *, trust_pickle: bool = False) -> Any:
    """Unpickle a file that torch saved, admitting nothing but tensors and plain containers.

    Raises:
        UnsafeError: the pickle asks for more, and `trust_pickle` was not given.
        CorruptError: the file is truncated or not torch's.
        MissingDependencyError: torch is not installed.
    """
    torch = _torch(trust_pickle)
    try:
        str(path).encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"{display(path)}: torch cannot open a path that is not UTF-8; rename it") from exc
    zipped = _is_zip(path)
    collecting = gc.isenabled()
    gc.disable()  # thousands of live containers make every collection slow; none of them is garbage
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust_pickle, mmap=zipped or None)
    except pickle.UnpicklingError as exc:
        if "truncated" in str(exc) or "Ran out" in str(exc):
            raise CorruptError("source_truncated", "the pickle ends in the middle", path=path) from exc
        wanted = _GLOBAL.search(str(exc))
        if trust_pickle or wanted is None:
            raise CorruptError(
                "source_invalid", "not a pickle that torch.save wrote, or a damaged one", path=path
            ) from exc
        raise UnsafeError(
            "pickle_unsafe",
            f"the pickle needs more than tensors and plain containers ({wanted[1]}); loading it could run"
            " code. Only if you trust its author, give --trust-pickle",
            path=path,
        ) from exc
    except EOFError as exc:
        raise CorruptError("source_truncated", "the file ends in the middle", path=path) from exc
    except Exception as exc:  # torch's reader lets through whatever a damaged file provokes
        raise CorruptError("source_invalid", f"torch cannot read it: {_first(exc)}", path=path) from exc
    finally:
        if collecting:
            gc.enable()


def _torch(trust_pickle: bool) -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError as exc:
        raise MissingDependencyError(
            "reading .pt files needs torch; install it with: pip install 'trajfmt[torch]'"
        ) from exc
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _SAFE_TORCH and not trust_pickle:
        raise UsageError(
            f"torch {torch.__version__} unpickles unsafely (CVE-2025-32434, CVE-2026-24747); install 2.10"
            " or newer, or give --trust-pickle if you trust the file"
        )
    return torch


def _is_zip(path: Path) -> bool:
    """Tell a zip from a legacy pickle, and refuse what is neither."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as exc:
        raise UsageError(f"{display(path)}: cannot be read: {exc.strerror}") from exc
    if start == b"PK\x03\x04":
        try:
            complete = zipfile.is_zipfile(path)
        except zipfile.BadZipFile as exc:
            raise CorruptError("source_invalid", f"not a valid zip file: {exc}", path=path) from exc
        if not complete:
            raise CorruptError(
                "source_truncated",
                "the zip directory at its end is missing: the file is incomplete",
                path=path,
            )
        return True
    if not start:
        raise CorruptError("source_truncated", "the file is empty", path=path)
    if start[0] != 0x80:
        raise CorruptError("source_invalid", "not a file that torch.save wrote", path=path)
    return False


def _first(exc: BaseException) -> str:
    """Return the first sentence of an error, in one short line."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text[:200]


class TensorTrajectory:
    """One trajectory of a buffer, as a `Source`."""

    def __init__(self, steps: Any, number: int, path: Path) -> None:
        where = f"trajectory {number}"
        if not isinstance(steps, (list, tuple)):
            raise CorruptError(
                "source_invalid",
                f"{where}: must be a list of timesteps, got {type(steps).__name__}",
                path=path,
            )
        for t, step in enumerate(steps):
            if not isinstance(step, (list, tuple)) or not all(hasattr(x, "untyped_storage") for x in step):
                raise CorruptError(
                    "source_invalid", f"{where}, timestep {t}: must be a list of tensors", path=path
                )
        self._steps: Sequence[Sequence[Any]] = steps
        self._number = number
        self._path = path

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return len(self._steps)

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes at t = 0."""
        return _shapes(self._steps[0]) if self._steps else ()

    @property
    def dtype(self) -> Dtype:
        """Return the common dtype of all tensors.

        Raises:
            SourceError: they differ, or are of a type that version 1 of the format does not have.
        """
        found = {str(tensor.dtype).removeprefix("torch.") for step in self._steps for tensor in step}
        names = {np.dtype(kind).name: name for name, kind in DTYPES.items()}
        if len(found) != 1 or (name := names.get(found.copy().pop())) is None:
            raise SourceError(
                "mixed_dtypes",
                f"all weights must share one of {', '.join(names)}, got {', '.join(sorted(found))}",
                path=self._path,
            )
        return name  # type: ignore[return-value]  # a key of DTYPES

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened; a view of the mapped file if it is contiguous."""
        values: NDArray[np.generic] = self._steps[t][parameter].detach().reshape(-1).numpy()
        return values

    def close(self) -> None:
        """Drop the tensors."""
        self._steps = []

    def check(self) -> None:
        """Refuse what MTT's own script saves by mistake.

        Raises:
            SourceError: timesteps of different shapes, or all timesteps are one and the same memory.
        """
        if not self._steps:
            raise SourceError("too_few_timesteps", "has no timesteps", path=self._path)
        expected = self.shapes
        if not expected:
            raise CorruptError("source_invalid", "a timestep has no tensors", path=self._path)
        for t, step in enumerate(self._steps):
            for index, tensor in enumerate(step):
                if problem := _odd(tensor):
                    raise CorruptError(
                        "source_invalid",
                        f"trajectory {self._number}, timestep {t}, tensor {index}: {problem}",
                        path=self._path,
                    )
            if _shapes(step) != expected:
                raise SourceError(
                    "mixed_architectures", f"timestep {t} has other shapes than timestep 0", path=self._path
                )
        places = [{_place(step[i]) for step in self._steps} for i in range(len(expected))]
        if len(self._steps) > 1 and places and all(len(place) == 1 for place in places):
            raise SourceError(
                "aliased_timesteps",
                f"all {len(self._steps)} timesteps are one and the same memory: only the last weights were"
                " saved. MTT's buffer.py does this on a CPU, where `.cpu()` does not copy; save"
                " `p.detach().clone()` and train again",
                path=self._path,
            )


def _shapes(step: Sequence[Any]) -> Shapes:
    return tuple(tuple(tensor.shape) for tensor in step)


def _odd(tensor: Any) -> str | None:
    """Say why a tensor is not plain numbers in the file, if it is not."""
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        return f"must be a plain tensor, got {str(tensor.layout).removeprefix('torch.')}"
    if tensor.device.type != "cpu":
        return f"must be on the CPU, got {tensor.device.type}"
    if tensor.is_conj() or tensor.is_neg():
        return "must be stored as it is, got a lazily negated or conjugated view"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel()} elements, but fewer are stored"
    return None


def _place(tensor: Any) -> tuple[int, int]:
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset()
