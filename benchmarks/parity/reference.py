"""Imports the authors' modules from a checkout, on a CPU, and feeds them numbers of our choice.

What they import but the compared functions never use is replaced while they are imported. Their source
files are read where they are; nothing of them is kept, and no bytecode is written beside them.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import kornia  # noqa: F401  # so that the reference finds it loaded
import torch

from mct.data.augment import Draws

_UNUSED = ("torchvision", "torchvision.utils", "scipy.ndimage.interpolation", "tqdm", "wandb")
_THEIRS = (
    "networks", "utils", "reparam_module", "convexify", "exps", "exps.trajectory_compression",
    "utils.utils_gsam", "utils.utils_cl_scheduler", "buffer", "buffer.buffer_CL",
    "gsam", "gsam.gsam", "gsam.scheduler", "gsam.util",
)  # fmt: skip


class _Stub(ModuleType):
    """Has every attribute, none of which does anything."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Stub(name)

    def __call__(self, *_: Any, **__: Any) -> _Stub:
        return self


def load(checkout: Path, *names: str) -> list[ModuleType]:
    """Import modules of a checkout, and leave `sys.modules` and `sys.path` as they were."""
    for name in names:
        if not (checkout / Path(*name.split("."))).with_suffix(".py").is_file():
            sys.exit(f"{checkout}: no {name.replace('.', '/')}.py; expected a checkout of the reference")
    stubs = {name: _Stub(name) for name in _UNUSED}
    stubs["tqdm"].tqdm = lambda items, **_: items  # type: ignore[attr-defined]
    before = {name: sys.modules.pop(name, None) for name in (*_UNUSED, *_THEIRS)}
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(checkout))
    sys.modules.update(stubs)
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(checkout))
        sys.dont_write_bytecode = bytecode
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def fingerprint(checkout: Path, *files: str) -> str:
    """Return a hash of the files that were compared with, so that a table says what it is about."""
    return hashlib.sha256(b"".join((checkout / file).read_bytes() for file in files)).hexdigest()[:16]


class _Fed:
    """Stands for `torch` inside the reference: random numbers come from `draws`, in their order."""

    def __init__(self, draws: Iterable[Draws], strategy: str, dtype: torch.dtype, **others: Any) -> None:
        self._draws, self._families, self._dtype = iter(draws), strategy.split("_"), dtype
        self._values: list[torch.Tensor] = []
        self.float = dtype  # the reference makes its affine matrices of `torch.float`
        for name, value in others.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randint(self, low: int, high: int, size: Iterable[int], **_: Any) -> torch.Tensor:
        if not self._values:  # which family
            draws = next(self._draws)
            self._values = list(draws.values)
            assert (low, high) == (0, len(self._families))
            return torch.tensor([self._families.index(draws.family)])
        value = self._values.pop(0)
        assert not value.is_floating_point()
        assert low <= int(value.min())
        assert int(value.max()) < high
        return value.view(*size)

    def rand(self, *size: int, **_: Any) -> torch.Tensor:
        value = self._values.pop(0)
        assert value.is_floating_point()
        return value.to(self._dtype).view(*size)

    def check_used(self) -> None:
        assert not self._values
        assert next(self._draws, None) is None


@contextmanager
def fed(
    module: ModuleType, draws: Iterable[Draws], strategy: str, dtype: torch.dtype, **others: Any
) -> Iterator[None]:
    """Let `module` draw the numbers of `draws`, all of them, instead of random ones.

    Args:
        module: The reference's `utils`.
        draws: One for each call of its augmentation.
        strategy: What it is called with.
        dtype: Of its images.
        others: Further attributes of `torch` to replace in it.
    """
    proxy = _Fed(draws, strategy, dtype, **others)
    with mock.patch.object(module, "torch", proxy):
        yield
    proxy.check_used()
