"""Signs that checkpoints of one folder are of different runs: their settings, and the times of their files.

A run that begins anew in the folder of an older one overwrites the first checkpoints and leaves the others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from trajfmt.errors import display
from trajfmt.sources.checkpoints.parts import facts

__all__ = ["Settings", "older_files", "other_settings", "settings_of"]

Settings = Mapping[str, str]
"""What one checkpoint stores about the training, as texts, by key with dots between nested keys."""

_PLACES: Final = ("args", "train_args", "hyper_parameters", "hyperparameters", "hparams", "config", "cfg")
"""Keys of dictionaries and arguments with settings."""

_ALONE: Final = ("seed", "dataset", "dataset_name", "data", "arch")
"""Keys of settings beside the weights. A rate of learning there may follow a schedule."""

_NO_SETTING: Final = re.compile(
    r"(?:.*[^a-z])?(?:resume|restart|start|checkpoint|ckpt|load|save|saved|output|out|log|logs|logdir|rank|world|"
    r"gpu|gpus|device|host|port|master|time|timestamp|date|epoch|iteration|iter|step|consumed|skipped|best|wandb|"
    r"id|uuid|cache|tmp|workers|verbose)(?:[^a-z].*)?",
    re.I | re.S,
)
"""Keys of what differs when a run is resumed: the place in the run, the machine, and where files are."""

_MOST: Final = 1000
_LONGEST: Final = 200
_SHOWN: Final = 4
_WORD: Final = 40
"""Letters of a value that a remark shows."""

_APART: Final = 60.0
"""Seconds between the times of files that were written by different runs."""


def settings_of(content: Any) -> dict[str, str]:
    """Return the settings of the training that a checkpoint stores beside its weights.

    >>> settings_of({"model": {}, "args": {"lr": 0.1, "resume": "a.pt"}, "seed": 3, "lr": 0.05})
    {'args.lr': '0.1', 'seed': '3'}
    """
    if not isinstance(content, Mapping):
        return {}
    places = {key: content[key] for key in (*_PLACES, *_ALONE) if key in content}
    return {
        ".".join(keys): str(value)[:_LONGEST]
        for keys, value in itertools.islice(facts(places, (int, str, float, bool)), _MOST)
        if (keys[0] in _PLACES) == (len(keys) > 1) and not any(map(_NO_SETTING.fullmatch, keys[1:]))
    }


def other_settings(names: Sequence[str], settings: Sequence[Settings]) -> str | None:
    """Return a remark on settings that are not the same in all checkpoints of a run, or None.

    A setting that some checkpoints lack is compared among the others. A number that is another one in each of
    three checkpoints or more counts something.

    Args:
        names: the names of the checkpoints, in the order of their numbers.
        settings: what each of them stores.
    """
    changes = sorted(_changes(settings))
    if not changes:
        return None
    shown = [f"`{display(key)}` ({_shown(one)}, then {_shown(other)})" for _, key, one, other in changes]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return (
        f"settings that the checkpoints store differ from {display(names[changes[0][0]])} on:"
        f" {', '.join(shown[:_SHOWN])}{more}; some may be of another run"
    )


def _changes(settings: Sequence[Settings]) -> Iterator[tuple[int, str, str, str]]:
    """Yield where each setting changes first, its key, and its values before and there."""
    for key in dict.fromkeys(key for each in settings for key in each):
        values = [(index, each[key]) for index, each in enumerate(settings) if key in each]
        texts = [text for _, text in values]
        counts = len(texts) > 2 and len(set(texts)) == len(texts) and all(map(_is_number, texts))
        first = next(((index, text) for index, text in values if text != texts[0]), None)
        if first is not None and not counts:
            yield first[0], key, texts[0], first[1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return display(text if len(text) <= _WORD else f"{text[:_WORD]}…")


def older_files(names: Sequence[str], times: Sequence[float]) -> str | None:
    """Return a remark if the last checkpoints of a run were written before the first ones, or None.

    Only a clear case counts: both halves were written in the order of their numbers, and more than a minute
    apart. Programs that copy files write them in the order of their names, or in none.

    Args:
        names: the names of the checkpoints, in the order of their numbers.
        times: when each was written, in seconds.

    >>> older_files(["e0", "e1", "e2", "e3"], [5000.0, 5001.0, 100.0, 101.0])
    'e2 and what follows were written before e1 and what precedes: they may be of another, older run'
    """
    falls = [at for at in range(1, len(times)) if times[at] <= times[at - 1]]
    if len(falls) != 1 or not 1 < (at := falls[0]) < len(times) - 1:
        return None
    written = sorted(names, key=dict(zip(names, times, strict=True)).__getitem__)
    if times[0] - times[-1] < _APART or written == sorted(names):
        return None
    first, second = display(names[at - 1]), display(names[at])
    return (
        f"{second} and what follows were written before {first} and what precedes: they may be of another,"
        " older run"
    )
