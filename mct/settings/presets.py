"""Published settings by name, each with its source.

The name of a preset consists of method, dataset, `zca` if images are whitened, and images per class, as in
`mct-cifar10-zca-ipc1`. `mct.settings.config` explains the settings. Where sources contradict each other, a
preset follows the paper, and `Preset.source` states what the code does. `REMARKS` applies to many presets.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any, Final

from mct.errors import ConfigError
from mct.settings.published import (
    att,
    cafe,
    datm,
    dc,
    dm,
    dsa,
    ftd,
    mct,
    mtt,
    pad,
    rat,
    selmatch,
    seqmatch,
    tesla,
)  # fmt: skip
from mct.settings.published.preset import Method, Preset, Trajectories

__all__ = [
    "METHODS",
    "PRESETS",
    "REMARKS",
    "Method",
    "Preset",
    "Trajectories",
    "default_preset",
    "preset",
    "presets_for",
    "rows",
    "trajectories_of",
]

METHODS: Final[Mapping[Method, ModuleType]] = {
    "mtt": mtt, "mct": mct, "tesla": tesla, "ftd": ftd, "att": att, "datm": datm, "pad": pad,
    "selmatch": selmatch, "seqmatch": seqmatch, "rat": rat, "dc": dc, "dsa": dsa, "dm": dm, "cafe": cafe,
}  # fmt: skip
"""Each method with its module, which has `PRESETS`, `SETTINGS` for datasets without presets, and
`TRAJECTORIES`: whether the method needs any."""

REMARKS: Final[tuple[str, ...]] = (
    "Unless the experts of a preset say otherwise, they differ only in the network: there are 100, trained "
    "for 50 epochs by SGD with learning rate 0.01, batch size 256 and DSA.",
    "max_start is as published. Starts are less than max_start, as in the code of both methods: "
    "randint(0, max_start) and uniform(0, max_start).",
    "The knots are those of the paper. The code of MCT places them at 17 and 34 instead, and replaces each "
    "by the mean of its neighbours.",
    "lr_init is as stated by the published commands and tables. The code of MCT never reads its --lr_init "
    "and always starts at 0.01.",
    "DC, DSA, DM and CAFE have no experts: they train networks of their own on the images.",
    "Accuracies are in percent. Those of methods with experts were selected on the test set; those of DC, "
    "DSA, DM and CAFE are of the last images. Those of MTT, MCT and CAFE are from table 1 of the MCT paper, "
    "and so are those of DC, DSA and DM for CIFAR and Tiny ImageNet; the others are from their own tables "
    "and readmes.",
)
"""Notes for users that apply to many presets."""

PRESETS: Final[Mapping[str, Preset]] = {
    entry.name: entry for module in METHODS.values() for entry in module.PRESETS
}
"""All presets by name."""


def preset(name: str) -> Preset:
    """Return the preset with a name.

    Raises:
        ConfigError: If there is no such preset. The message suggests similar names.

    Example:
        >>> preset("mct-cifar10-ipc1").expert_steps
        6
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name.lower(), PRESETS, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known presets: {', '.join(PRESETS)}"
    raise ConfigError(f"unknown preset {name!r}; {hint}")


def trajectories_of(method: str) -> Trajectories:
    """Return whether a method of `METHODS` needs expert trajectories.

    Example:
        >>> trajectories_of("mtt")
        'needed'
    """
    found: Trajectories = METHODS[method].TRAJECTORIES  # type: ignore[index]
    return found


def presets_for(
    dataset: str, ipc: int | None = None, preprocessing: str | None = None, *, method: Method | None = None
) -> list[Preset]:
    """Return the presets of a dataset, restricted by those of the other arguments that are not None."""
    return [
        entry
        for entry in PRESETS.values()
        if entry.dataset == dataset
        and ipc in (None, entry.ipc)
        and preprocessing in (None, entry.preprocessing)
        and method in (None, entry.method)
    ]


def default_preset(
    dataset: str, ipc: int, preprocessing: str | None = None, *, method: Method = "mct", stage: int = 1
) -> Preset | None:
    """Return the preset that is used for a dataset if the user names none, or None.

    If there is no preset for this preprocessing, or `preprocessing` is None, a preset for another one is
    returned, preferably for `normalize`. Of presets of stages, it is that of the stage with number `stage`.

    Example:
        >>> default_preset("CIFAR10", 1, "zca", method="mtt").name
        'mtt-cifar10-zca-ipc1'
        >>> default_preset("digits", 1) is None
        True
    """
    found = [one for one in presets_for(dataset, ipc, method=method) if one.stage in (None, stage)]
    order = (preprocessing, "normalize", "zca", "unit-zca")
    return min(found, key=lambda entry: order.index(entry.preprocessing), default=None)


def rows(presets: Iterable[Preset] | None = None) -> list[dict[str, Any]]:
    """Return presets, by default all, as dictionaries of plain values for a table or JSON."""
    chosen = PRESETS.values() if presets is None else presets
    return [{"name": entry.name} | asdict(entry) | {"knots": list(entry.knots)} for entry in chosen]
