"""Reads and writes files of torch that hold one tensor: images, labels, a step size."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any, Final, TypeGuard

import torch
from torch import Tensor

from mct.errors import CorruptError, MissingError
from mct.results.origin import Meaning, SourceFile
from mct.sets.labels import is_distribution
from mct.settings.config import LARGEST
from trajfmt.sources import unpickle
from trajfmt.storage import sha256_file

_BLOCK: Final = 2**20


def read(path: Path, *, trust_pickle: bool) -> Any:
    """Return what a file of torch holds, which may be tensors and plain containers only.

    Raises:
        MissingError: There is no such file.
        trajfmt.TrajfmtError: It is damaged, or asks for more.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    if damaged := _damaged(path):
        raise CorruptError(f"{path}: {damaged} is damaged: its checksum in the file is another")
    return unpickle.load(path, trust_pickle=trust_pickle)


def _damaged(path: Path) -> str | None:
    """Return the member of a zip file that differs from its CRC-32, which torch itself never compares."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.CRC:  # 0 where `torch.serialization.set_crc32_options` left them out
                    with archive.open(member) as content:
                        while content.read(_BLOCK):
                            pass
    except zipfile.BadZipFile as exc:
        return member.filename if "CRC-32" in str(exc) else None
    except Exception:  # no zip, or damaged elsewhere: `unpickle` says what is wrong
        return None
    return None


def plain(found: Any) -> TypeGuard[Tensor]:
    """Return whether something is a tensor of numbers that are all in memory, each at its own place."""
    return (
        isinstance(found, Tensor)
        and found.layout == torch.strided
        and found.device.type == "cpu"
        and not found.is_quantized
        and found.numel() * found.element_size() <= found.untyped_storage().nbytes()
    )


def described(found: Any) -> str:
    """Return what was found instead of a tensor, in a few words."""
    if isinstance(found, Tensor):
        kind = "" if plain(found) else ", not plain numbers in memory of their own"
        return f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}{kind}"
    if isinstance(found, list) and found and isinstance(found[0], list):
        return "lists in a list, a buffer of trajectories perhaps, which traj convert reads"
    return f"a {type(found).__name__}"


def images(found: Any, where: Path | str) -> Tensor:
    """Return images `(N, C, H, W)`, square, as float32 in memory of their own.

    Raises:
        CorruptError: They are something else, or not finite.
    """
    if (
        not plain(found)
        or not found.is_floating_point()
        or found.ndim != 4
        or found.numel() == 0
        or found.shape[2] != found.shape[3]
    ):
        raise CorruptError(
            f"{where}: expected square images (N, C, H, W) of floats, found {described(found)}"
        )
    pixels = found.detach().to("cpu", torch.float32, copy=True).contiguous()
    if wrong := int((~pixels.isfinite()).sum()):
        raise CorruptError(f"{where}: {wrong} of {pixels.numel()} values are NaN or infinite")
    return pixels


def labels(found: Any, count: int, where: Path | str) -> Tensor:
    """Return labels of `count` images, `(N,)` int64 or `(N, K)` float32, in memory of their own.

    Raises:
        CorruptError: They are something else, of another number of images, or not finite.
    """
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
            f"{where}: expected class numbers from 0, or a row of floats an image, found {described(found)}"
        )
    return own.to(torch.int64)


def meaning(rows: Tensor) -> Meaning | None:
    """Return what labels are, as far as looking tells: class numbers, probabilities, or None."""
    if rows.ndim == 1:
        return "classes"
    return "probabilities" if is_distribution(rows) else None


def rate(found: Any, where: Path | str) -> float:
    """Return a step size.

    Raises:
        CorruptError: It is not one number above 0.
    """
    if not plain(found) or found.numel() != 1 or not found.is_floating_point():
        raise CorruptError(f"{where}: expected one step size, found {described(found)}")
    value = float(found.detach())
    if not math.isfinite(value) or not 0 < value <= LARGEST:
        raise CorruptError(f"{where}: the step size {value:g} is not a number above 0 to train with")
    return value


def source(path: Path) -> SourceFile:
    """Return the name and the hash of a file."""
    return SourceFile(name=path.name, sha256=sha256_file(path))


def saved(content: Any) -> bytes:
    """Return the bytes that `torch.save` writes; no tensor may be a view of a larger one."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def scalar(value: float) -> bytes:
    """Return a saved float32 without dimensions, as `syn_lr` is."""
    return saved(torch.tensor(value, dtype=torch.float32))
