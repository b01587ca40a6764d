"""Small safetensors files of mct: tensors and one JSON object, written atomically.

The metadata is one key only, because with several the order, and so the bytes, would vary. What the
tensors mean is known to `synthetic` and `state`.
"""

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mct.errors import CorruptError, MissingError, ResultError
from trajfmt.storage import write_file

_KEY = "mct"


@contextlib.contextmanager
def explained(path: Path, hint: str) -> Iterator[None]:
    """Add the name of the file and a hint to an error of the operating system in the block."""
    try:
        yield
    except OSError as exc:
        if hasattr(exc, "exit_code"):  # ours, or trajfmt's: says so itself
            raise
        raise OSError(exc.errno, f"{exc.strerror or exc}; {hint}", str(path)) from exc


def require_space(folder: Path, needed: int) -> None:
    """Require room for `needed` bytes more under `folder`, which need not exist yet.

    Raises:
        OSError: There is less.
    """
    here = folder.absolute()
    while not here.is_dir():
        here = here.parent
    free = shutil.disk_usage(here).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"about {needed / 1e6:.1f} MB will be written, {free / 1e6:.1f} MB are free; make room, or use "
            "another --out",
            str(folder),
        )


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts; `facts` must be JSON without NaN."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(
        {**facts, "sha256": _digest(own)}, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    write_file(path, safetensors.torch.save(own, {_KEY: text}))


def load(path: Path, *, kind: str, version: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and facts of a file whose facts state `kind` and `version`.

    Raises:
        MissingError: There is no such file.
        ResultError: The file is of another kind or version.
        CorruptError: The file is damaged.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (safetensors.SafetensorError, OSError) as exc:
        raise CorruptError(f"{path}: not a safetensors file, or damaged: {exc}") from exc
    if text is None:
        raise ResultError(f"{path}: not written by mct: the metadata has no key `{_KEY}`")
    try:
        facts = json.loads(text)
        found = (facts["kind"], facts["version"])
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise CorruptError(f"{path}: the metadata `{_KEY}` cannot be read: {exc}") from exc
    if found != (kind, version):
        raise ResultError(
            f"{path}: expected a {kind} of version {version}, found {found[0]!r} of version {found[1]!r}"
        )
    if facts.pop("sha256", None) != _digest(tensors):
        raise CorruptError(f"{path}: the tensors do not have the sha256 on record: the file is damaged")
    return tensors, facts


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, dtypes, shapes and bytes, in order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
