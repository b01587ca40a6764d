"""The epochs and steps that checkpoints themselves store, compared with the order of their names.

Only the order is compared: many scripts store the number of the next epoch, or count from 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trajfmt.errors import display
from trajfmt.sources.checkpoints.parts import facts

__all__ = ["STEPS", "Counts", "contradiction", "counts_of", "other_numbers", "standing_still"]

Counts = Mapping[str, int]
"""What one checkpoint stores about its place in the run, by key."""

_WHOLE: Final = ("epoch", "global_step", "global_steps", "iteration", "num_updates")
"""Keys of numbers that count from the beginning of the run."""

_WITHIN: Final = ("step", "iter")
"""Keys of numbers that may begin again in each epoch."""

STEPS: Final = (*_WHOLE[1:], *_WITHIN)
"""Keys of numbers of steps."""

_PLACES: Final = ((), ("meta",), ("metadata",), ("extra_state", "train_iterator"))
_HISTORY: Final = "optimizer_history"
"""Where fairseq keeps a list of dictionaries, the last of which has the number of updates."""

_LONGEST: Final = 16
"""Digits of a number that is read."""


def counts_of(content: Any) -> dict[str, int]:
    """Return the epoch and the steps that a checkpoint stores beside its weights.

    Example:
        >>> counts_of({"model": {}, "epoch": 3, "meta": {"iter": 40}, "loss": 0.5})
        {'epoch': 3, 'iter': 40}
        >>> counts_of({"optimizer_history": [{"num_updates": 100}, {"num_updates": 200}]})
        {'num_updates': 200}
    """
    found: dict[str, int] = {}
    history = content.get(_HISTORY) if isinstance(content, Mapping) else None
    last = history[-1] if isinstance(history, (list, tuple)) and history else None
    for keys, value in (*facts(content), *facts(last)):
        text = str(value)
        if not keys or keys[:-1] not in _PLACES or keys[-1] not in (*_WHOLE, *_WITHIN):
            continue
        if len(text) <= _LONGEST and text.isascii() and text.isdigit():
            found.setdefault(keys[-1], int(text))
    return found


def contradiction(names: Sequence[str], counts: Sequence[Counts], unit: str | None) -> str | None:
    """Return where the stored numbers of a run fall although its names rise, or None.

    Args:
        names: the names of the checkpoints, in the order of their numbers.
        counts: what each of them stores. A key that one of them lacks is not compared.
        unit: what the names count. Steps beside it may begin again in each epoch.
    """
    common = [key for key in (*_WHOLE, *_WITHIN) if all(key in count for count in counts)]
    for key in common:
        nested = key in _WITHIN and "epoch" in common
        if key in _WITHIN and unit == "epoch" and not nested:
            continue
        pairs = zip(names, counts, strict=True)
        for (one, first), (other, second) in itertools.pairwise(pairs):
            before = (first["epoch"], first[key]) if nested else (0, first[key])
            after = (second["epoch"], second[key]) if nested else (0, second[key])
            if after < before:
                return (
                    f"{display(one)} stores {key} {first[key]}, and {display(other)} stores"
                    f" {key} {second[key]}"
                )
    return None


def other_numbers(
    names: Sequence[str], numbers: Sequence[int], counts: Sequence[Counts], unit: str | None
) -> str | None:
    """Return a remark on stored numbers that rise by other amounts than those of the names, or None.

    A constant difference is none: scripts store the number of the next epoch, or count from 1. If nothing
    says what the names count, neither is a constant factor.

    Args:
        names: the names of the checkpoints, in the order of their numbers.
        numbers: the numbers in the names.
        counts: what each of them stores. A key that one of them lacks is not compared.
        unit: what the names count. Steps are compared with steps, and epochs with epochs.

    >>> other_numbers(["s10", "s20", "s30"], [10, 20, 30], [{"step": 1}, {"step": 3}, {"step": 4}], "step")
    's20 stores step 3, and s10 stores step 1: these are further apart than the names say, or closer'
    """
    whole = [key for key in _WHOLE if unit is None or (key == "epoch") == (unit == "epoch")]
    nested = any("epoch" in count for count in counts)
    for key in whole if unit != "step" or nested else [*whole, *_WITHIN]:
        stored = [count[key] for count in counts if key in count]
        if len(stored) < len(names) or len(set(stored)) == 1:
            continue  # if all are the same, another remark says so
        few = key == "epoch" and stored[-1] - stored[0] <= numbers[-1] - numbers[0]
        if unit is None and few:
            continue  # the names may count steps
        slope = (1, 1) if unit is not None else (stored[1] - stored[0], numbers[1] - numbers[0])
        for name, number, found in zip(names, numbers, stored, strict=True):
            if (found - stored[0]) * slope[1] != (number - numbers[0]) * slope[0]:
                return (
                    f"{display(name)} stores {key} {found}, and {display(names[0])} stores {key} {stored[0]}:"
                    " these are further apart than the names say, or closer"
                )
    return None


def standing_still(first: Counts, last: Counts, unit: str | None) -> str | None:
    """Return the number that the first and the last checkpoint of a run share, such as `epoch 10`, or None.

    Args:
        first: what the first checkpoint stores.
        last: what the last one stores.
        unit: what the names count. An epoch may stay the same while steps rise.
    """
    shared = [key for key in (*_WHOLE, *_WITHIN) if key in first and key in last]
    if unit is not None:
        shared = [key for key in shared if (key == "epoch") == (unit == "epoch")]
    if not shared or any(first[key] != last[key] for key in shared):
        return None
    return f"{shared[0]} {first[shared[0]]}"
