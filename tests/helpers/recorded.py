"""A stand-in for CUDA graphs: every operator call is recorded, and made again on the same tensors."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_ITEM = torch.ops.aten._local_scalar_dense.default


class Calls(TorchDispatchMode):
    """Records operator calls with the tensors that they read and wrote, which stay alive.

    As in a capture, what the calls write to tensors that were there before has no effect until the replay.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made = []
        self._own: dict[int, torch.Tensor] = {}
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Make a call and keep it; reading a value on the host breaks a capture, here as on a GPU."""
        kwargs = kwargs or {}
        if func is _ITEM:
            raise RuntimeError("operation not permitted when stream is capturing")
        for tensor in _written(func, args, kwargs):
            place = _place(tensor)
            if place not in self._own and place not in self._before:
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                self._before[place] = whole, whole.clone()
        seen = tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs))
        found = func(*args, **kwargs)
        if not _is_view(func) and func.namespace != "profiler":
            # Aliases: an operator may change the shape of a tensor in place.
            self.made.append((func, *seen, tree_map_only(torch.Tensor, torch.Tensor.detach, found)))
            self._own |= {_place(each): each for each in _tensors(found) if _place(each) not in self._before}
        return found

    @torch.no_grad()
    def __exit__(self, *exc):
        """Put back what was written to tensors of others."""
        super().__exit__(*exc)
        for whole, values in self._before.values():
            whole.copy_(values)

    @torch.no_grad()
    def replay(self) -> None:
        """Make all calls again, each into the tensors of the first time."""
        for func, args, kwargs, before in self.made:
            now = func(*args, **kwargs)
            for old, new in zip(_tensors(before), _tensors(now), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    def pool(self) -> None:
        """Return None: memory is not shared."""


class CallRecorder:
    """A recorder without a device."""

    def __init__(self) -> None:
        self.records, self.after = [], []

    def record(self, work, *, after=None):
        """Record the calls of `work`, and what is said to be replayed before it."""
        assert after is None or after in self.records
        self.after.append(after)
        calls = Calls()
        with calls:
            found = work()
        self.records.append(calls)
        return found, calls


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _written(func, args, kwargs):
    for argument, value in zip(func._schema.arguments, args, strict=False):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from _tensors(value)
    for argument in func._schema.arguments[len(args) :]:
        if argument.alias_info is not None and argument.alias_info.is_write and argument.name in kwargs:
            yield from _tensors(kwargs[argument.name])


def _is_view(func) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(each.alias_info and not each.alias_info.is_write for each in returns)


def _tensors(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [each for each in found or () if isinstance(each, torch.Tensor)]
