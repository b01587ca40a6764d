"""Reading, checking and writing tensors in files of `torch.save`."""

import io
import math
from pathlib import Path
from typing import Any, Final, TypeGuard

import torch
from torch import Tensor

from mct.errors import CorruptError, MissingError, ResultError
from mct.results.origin import Meaning, SourceFile
from mct.sets.labels import is_distribution
from mct.settings.checks import LARGEST
from trajfmt.sources import unpickle
from trajfmt.storage import sha256_file

_MOST_REPEATED: Final = 1000
"""How often an expanded tensor may repeat the numbers that it stores."""


def read(path: Path, *, trust_pickle: bool) -> Any:
    """Load a file of `torch.save` that contains only tensors and plain containers.

    Args:
        path: The file.
        trust_pickle: Whether to load pickles that contain more, and can execute any code.

    Raises:
        MissingError: If the file does not exist.
        trajfmt.TrajfmtError: If the file is of another kind, is damaged, as its checksums show, or contains
            more than tensors and containers.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    return unpickle.load(path, trust_pickle=trust_pickle)


def plain(found: Any) -> TypeGuard[Tensor]:
    """Return whether an object is a dense CPU tensor of numbers, and does not repeat few of them for ever."""
    return (
        isinstance(found, Tensor)
        and _other_kind(found) is None
        and found.numel() * found.element_size() <= _MOST_REPEATED * found.untyped_storage().nbytes()
    )


def _other_kind(found: Tensor) -> str | None:
    """Return what a tensor is, if it is not made of plain numbers in memory."""
    if found.is_quantized:
        return "quantised; save what its dequantize() returns"
    if found.layout != torch.strided:
        return f"{str(found.layout).removeprefix('torch.')}; save what its to_dense() returns"
    return None if found.device.type == "cpu" else f"on the device {found.device.type}, without numbers"


def _require_numbers(found: Any, where: Path | str) -> None:
    """Refuse a tensor that is sound, but not made of plain numbers.

    Raises:
        ResultError: If it is quantised or sparse, or has no numbers.
    """
    if isinstance(found, Tensor) and (kind := _other_kind(found)):
        raise ResultError(f"{where}: expected a plain tensor, found one that is {kind}")


def described(found: Any) -> str:
    """Describe an object in a few words, for error messages: a tensor by dtype and shape."""
    if isinstance(found, Tensor):
        kind = "" if plain(found) else ", of which the file has far fewer numbers"
        return f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}{kind}"
    if isinstance(found, list) and found and isinstance(found[0], list):
        return "a list of lists, perhaps a buffer of trajectories, which traj convert reads"
    return f"a {type(found).__name__}"


def images(found: Any, where: Path | str) -> Tensor:
    """Check that an object is a tensor of square images, and return a float32 copy `(N, C, H, H)`.

    Args:
        found: The object from the file.
        where: The file, for error messages.

    Raises:
        ResultError: If it is a tensor that is not made of plain numbers.
        CorruptError: If it is something else, or a value is not finite.
    """
    _require_numbers(found, where)
    if (
        not plain(found)
        or not found.is_floating_point()
        or found.ndim != 4
        or found.numel() == 0
        or found.shape[2] != found.shape[3]
    ):
        raise CorruptError(
            f"{where}: expected square images (N, C, H, W) of a floating type, found {described(found)}"
        )
    pixels = found.detach().to("cpu", torch.float32, copy=True).contiguous()
    if wrong := int((~pixels.isfinite()).sum()):
        raise CorruptError(f"{where}: {wrong} of {pixels.numel()} values are NaN or infinite")
    return pixels


def labels(found: Any, count: int, where: Path | str) -> Tensor:
    """Check that an object is a tensor of labels, and return a copy of it.

    Args:
        found: The object from the file.
        count: Number of images N.
        where: The file, for error messages.

    Returns:
        Class numbers `(N,)` int64, or rows `(N, K)` float32.

    Raises:
        ResultError: If it is a tensor that is not made of plain numbers.
        CorruptError: If it is something else, or labels of another number of images, or not finite.
    """
    _require_numbers(found, where)
    if not plain(found) or found.ndim not in (1, 2) or len(found) != count:
        raise CorruptError(f"{where}: expected labels of {count} images, found {described(found)}")
    own = found.detach().to("cpu", copy=True)
    if own.ndim == 2 and own.is_floating_point() and own.shape[1] > 1:
        if not bool(own.isfinite().all()):
            raise CorruptError(f"{where}: a label is NaN or infinite")
        return own.to(torch.float32).contiguous()
    numbers = own.ndim == 1 and not own.is_complex() and bool(own.isfinite().all())
    whole = numbers and bool((own.double() == own.double().round()).all())
    if not whole or int(own.min()) < 0 or int(own.max()) >= 2**31:
        raise CorruptError(
            f"{where}: expected class numbers from 0, or one row of floats per image, found "
            f"{described(found)}"
        )
    return own.to(torch.int64)


def meaning(rows: Tensor) -> Meaning | None:
    """Return the meaning of labels if their values determine it: `classes`, `probabilities`, or None."""
    if rows.ndim == 1:
        return "classes"
    return "probabilities" if is_distribution(rows) else None


def rate(found: Any, where: Path | str) -> float:
    """Check that an object is a tensor with a learning rate, and return the learning rate.

    Args:
        found: The object from the file.
        where: The file, for error messages.

    Raises:
        ResultError: If it is a tensor that is not made of plain numbers.
        CorruptError: If it is not a single finite number > 0.
    """
    _require_numbers(found, where)
    if not plain(found) or found.numel() != 1 or not found.is_floating_point():
        raise CorruptError(f"{where}: expected one learning rate, found {described(found)}")
    value = float(found.detach())
    if not math.isfinite(value) or not 0 < value <= LARGEST:
        raise CorruptError(
            f"{where}: the learning rate must be a finite number > 0, at most {LARGEST:g}, found {value:g}"
        )
    return value


def source(path: Path) -> SourceFile:
    """Return the record of a file: its name and its hash."""
    return SourceFile(name=path.name, sha256=sha256_file(path))


def saved(content: Any) -> bytes:
    """Return the bytes that `torch.save` writes for `content`.

    Tensors must not be views of larger ones, because `torch.save` writes their whole storage.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def scalar(value: float) -> bytes:
    """Return the bytes of a saved float32 scalar, the form of MTT's `syn_lr`."""
    return saved(torch.tensor(value, dtype=torch.float32))
