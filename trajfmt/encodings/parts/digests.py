"""The safetensors file of the digests of pieces: one tensor `{number:05d}` `(n, 32)` for each trajectory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from trajfmt.encodings.parts.knots import header_size, tensors_of
from trajfmt.errors import CorruptError
from trajfmt.schema.canonical import canonical
from trajfmt.schema.pieces import DIGEST
from trajfmt.storage.files import BundleFiles
from trajfmt.storage.safetensors import StoredTensor, encode_header, stored_tensor

__all__ = ["check_header", "header"]

_ABOUT: Final = {"holds": "pieces"}


def header(counts: Iterable[tuple[int, int]]) -> bytes:
    """Return the bytes before the first digest.

    Args:
        counts: the number of each trajectory, and how many digests it has.
    """
    tensors = [(f"{number:05d}", "U8", (count, DIGEST)) for number, count in counts]
    return encode_header(tensors, {"trajfmt": canonical(_ABOUT).decode()})


def check_header(
    files: BundleFiles, name: str, places: Iterable[tuple[int, int, int]], *, beside: Iterable[int] = ()
) -> None:
    """Require that the header of a file of digests says what the manifest says.

    Args:
        files: the files of the bundle.
        name: the listed file.
        places: for each trajectory with digests there, its number, the offset of the first, and how many
            there are.
        beside: numbers of trajectories that are refused, whose digests are not looked at.

    Raises:
        UnsafeError: the header is larger or heavier than the format allows.
        CorruptError: the header is damaged, or describes other digests.
    """
    path = files.where(name)
    data = header_size(files, name)
    table = tensors_of(files.read(name, 8, data - 8), path)
    for number in beside:
        table.pop(f"{number:05d}", None)
    found = {key: stored_tensor(entry, data) for key, entry in table.items()}
    expected = {
        f"{number:05d}": StoredTensor("U8", (count, DIGEST), start, start + count * DIGEST)
        for number, start, count in places
    }
    if found != expected:
        raise CorruptError("header_mismatch", "header and manifest describe different digests", path=path)
