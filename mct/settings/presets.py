"""The published settings of MTT and MCT, each with its source.

The name of a preset consists of method, dataset, `zca` if images are whitened, and images per class, as in
`mct-cifar10-zca-ipc1`. `mct.settings.config` explains the settings. Where sources contradict each other, a
preset follows the paper, and `Preset.source` states what the code does. `REMARKS` applies to many presets.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from mct.errors import ConfigError

Method = Literal["mtt", "mct"]
"""MTT matches the timesteps of a `full` bundle, MCT those of a `convex` one."""

REMARKS: Final[tuple[str, ...]] = (
    "Experts differ only in the network: there are 100, trained for 50 epochs by SGD with learning rate "
    "0.01, batch size 256 and DSA.",
    "max_start is as published. Starts are less than max_start, as in the code of both methods: "
    "randint(0, max_start) and uniform(0, max_start).",
    "The knots are those of the paper. The code of MCT places them at 17 and 34 instead, and replaces each "
    "by the mean of its neighbours.",
    "lr_init is as stated by the published commands and tables. The code of MCT never reads its --lr_init "
    "and always starts at 0.01.",
    "Accuracies are in percent, from table 1 of the MCT paper, and were selected on the test set.",
)
"""Notes for users that apply to many presets."""

_AS_MTT: Final = "other settings: MTT's, as the paper states in section 5.1, since none are published"
_WHITENED: Final = f"knots and ZCA: paper, section 5.1; {_AS_MTT} (MTT does not whiten here)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The settings of one published experiment."""

    method: Method
    """The method of the experiment."""

    dataset: str
    """Name of the dataset."""

    ipc: int
    """Images per class."""

    preprocessing: Literal["normalize", "zca"]
    """Preprocessing of the images, for experts and distillation."""

    model: str = "ConvNet"
    """Name of the network. Experts are otherwise trained with the defaults of `ExpertConfig`."""

    knots: tuple[int, ...] = ()
    """Timesteps of the inserted waypoints of a convexified trajectory; empty for MTT."""

    inner_steps: int
    """N: the number of inner steps in an outer step."""

    expert_steps: float
    """M: the number of timesteps from start to target."""

    max_start: float
    """Bound of the starts, as published."""

    lr_img: float
    """Step size of the updates of the images."""

    lr_lr: float
    """Step size of the updates of the synthetic learning rate."""

    lr_init: float = 0.01
    """Initial value of the synthetic learning rate (`lr_teacher` in MTT's commands)."""

    batch_syn: int | None = None
    """Synthetic images per inner step; None for all."""

    outer_steps: int = 5000
    """Number of updates of the synthetic dataset."""

    accuracy: str | None = None
    """Published mean and standard deviation in percent; None if none is published for these settings."""

    source: str
    """Source of the numbers, and what other sources state."""

    @property
    def name(self) -> str:
        """The name of the preset, such as `mct-cifar10-zca-ipc1`."""
        whitened = "-zca" if self.preprocessing == "zca" else ""
        return f"{self.method}-{self.dataset.lower()}{whitened}-ipc{self.ipc}"

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `DistillConfig` that the preset sets."""
        return {field: getattr(self, field) for field in _SETTINGS}


_SETTINGS: Final = (
    "ipc",
    "inner_steps",
    "expert_steps",
    "max_start",
    "lr_img",
    "lr_lr",
    "lr_init",
    "batch_syn",
    "outer_steps",
)

_MTT: Final = (
    Preset(
        method="mtt", dataset="CIFAR10", ipc=1, preprocessing="zca", accuracy="46.3 ± 0.8",
        inner_steps=50, expert_steps=2, max_start=2, lr_img=100, lr_lr=1e-7, source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=10, preprocessing="zca", accuracy="65.3 ± 0.7",
        inner_steps=30, expert_steps=2, max_start=20, lr_img=100, lr_lr=1e-5, lr_init=0.001,
        source="values of DCBench's copy, as MTT's published table has a typo (mtt#31): its lr_img 1e5, "
        "lr_lr 1e-4 and lr_init 0.01 diverge",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=1, preprocessing="normalize",
        inner_steps=50, expert_steps=2, max_start=5, lr_img=1000, lr_lr=1e-7,
        source="MTT without ZCA, as MCT's authors wrote it down; lr_init of the whitened row",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=10, preprocessing="normalize",
        inner_steps=30, expert_steps=2, max_start=15, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="MTT without ZCA, as MCT's authors wrote it down; lr_init of the whitened row",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=50, preprocessing="normalize", accuracy="71.6 ± 0.2",
        inner_steps=30, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="CIFAR100", ipc=1, preprocessing="zca", accuracy="24.3 ± 0.3",
        inner_steps=20, expert_steps=3, max_start=20, lr_img=1000, lr_lr=1e-5,
        source="MTT, published table and command",
    ),
    Preset(
        method="mtt", dataset="CIFAR100", ipc=10, preprocessing="normalize", accuracy="40.1 ± 0.4",
        inner_steps=20, expert_steps=2, max_start=20, lr_img=1000, lr_lr=1e-5, source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="CIFAR100", ipc=50, preprocessing="zca", accuracy="47.7 ± 0.2",
        inner_steps=80, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, batch_syn=125,
        source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="Tiny", ipc=1, preprocessing="normalize", model="ConvNetD4",
        inner_steps=10, expert_steps=2, max_start=10, lr_img=1e4, lr_lr=1e-4,
        accuracy="8.8 ± 0.3", source="MTT, published table; ConvNetD4: mtt#6",
    ),
    Preset(
        method="mtt", dataset="Tiny", ipc=10, preprocessing="normalize", model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=200,
        accuracy="23.2 ± 0.2", source="MTT, published table; ConvNetD4: mtt#6",
    ),
    Preset(
        method="mtt", dataset="Tiny", ipc=50, preprocessing="normalize", model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=300,
        accuracy="28.0 ± 0.3", source="MTT, published table; ConvNetD4: mtt#6",
    ),
    Preset(
        method="mtt", dataset="ImageNet", ipc=1, preprocessing="normalize", model="ConvNetD5",
        inner_steps=20, expert_steps=2, max_start=10, lr_img=1e5, lr_lr=1e-6,
        source="MTT's author in mtt#1, ten classes at 128 x 128; the example in its readme has lr_img 1000",
    ),
    Preset(
        method="mtt", dataset="ImageNet", ipc=10, preprocessing="normalize", model="ConvNetD5",
        inner_steps=20, expert_steps=2, max_start=10, lr_img=1e5, lr_lr=1e-6, batch_syn=20,
        source="MTT's author in mtt#1, ten classes at 128 x 128",
    ),
)  # fmt: skip

_MCT: Final = (
    Preset(
        method="mct", dataset="CIFAR10", ipc=1, preprocessing="normalize", knots=(6, 25),
        inner_steps=60, expert_steps=6, max_start=4, lr_img=1000, lr_lr=1e-7,
        source="the authors' published command, without ZCA",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=10, preprocessing="normalize", knots=(6, 25),
        inner_steps=30, expert_steps=15, max_start=8, lr_img=1000, lr_lr=1e-5,
        source="the authors' published command, without ZCA; it names no lr_init",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=50, preprocessing="normalize", knots=(6, 25),
        inner_steps=30, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="the authors' published command, without ZCA; the code ran with lr_init 0.01",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=1, preprocessing="zca", knots=(6, 25), accuracy="48.5 ± 0.2",
        inner_steps=50, expert_steps=5, max_start=3, lr_img=100, lr_lr=1e-7,
        source=f"N = 50, M = 5: paper, table 3; max_start: note in the authors' code (48.48); {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=10, preprocessing="zca", knots=(6, 25), accuracy="66.0 ± 0.3",
        inner_steps=50, expert_steps=6, max_start=5, lr_img=100, lr_lr=1e-5, lr_init=0.001,
        source="N = 50, M = 6: paper, table 3; max_start: paper, section 5.3 (the note in the authors' code "
        f"has N = 30, M = 5, max_start 4 and no accuracy); {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=50, preprocessing="zca", knots=(6, 25), accuracy="72.3 ± 0.3",
        inner_steps=50, expert_steps=6, max_start=30, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="N = 50, M = 6: paper, table 3; the rest: the authors' ablation command, which has N = 30, "
        "M = 5 and ran with lr_init 0.01",
    ),
    Preset(
        method="mct", dataset="CIFAR100", ipc=1, preprocessing="zca", knots=(15, 30), accuracy="24.5 ± 0.5",
        inner_steps=20, expert_steps=3, max_start=20, lr_img=1000, lr_lr=1e-5,
        source=f"knots: paper, section 5.1; {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="CIFAR100", ipc=10, preprocessing="zca", knots=(15, 30), accuracy="42.5 ± 0.5",
        inner_steps=20, expert_steps=2, max_start=20, lr_img=1000, lr_lr=1e-5, source=_WHITENED,
    ),
    Preset(
        method="mct", dataset="CIFAR100", ipc=50, preprocessing="zca", knots=(15, 30), accuracy="46.8 ± 0.2",
        inner_steps=80, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, batch_syn=125,
        source=f"knots: paper, section 5.1; {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="Tiny", ipc=1, preprocessing="zca", model="ConvNetD4", knots=(15, 30),
        inner_steps=10, expert_steps=2, max_start=10, lr_img=1e4, lr_lr=1e-4,
        accuracy="9.6 ± 0.5", source=_WHITENED,
    ),
    Preset(
        method="mct", dataset="Tiny", ipc=10, preprocessing="zca", model="ConvNetD4", knots=(15, 30),
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=200,
        accuracy="22.6 ± 0.8", source=_WHITENED,
    ),
    Preset(
        method="mct", dataset="Tiny", ipc=50, preprocessing="zca", model="ConvNetD4", knots=(15, 30),
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=300,
        accuracy="27.6 ± 0.4", source=_WHITENED,
    ),
)  # fmt: skip

PRESETS: Final[Mapping[str, Preset]] = {entry.name: entry for entry in (*_MTT, *_MCT)}
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
    dataset: str, ipc: int, preprocessing: str | None = None, *, method: Method = "mct"
) -> Preset | None:
    """Return the preset that is used for a dataset if the user names none, or None.

    If there is no preset for this preprocessing, or `preprocessing` is None, a preset for another one is
    returned, preferably for `normalize`.

    Example:
        >>> default_preset("CIFAR10", 1, "zca", method="mtt").name
        'mtt-cifar10-zca-ipc1'
        >>> default_preset("digits", 1) is None
        True
    """
    found = presets_for(dataset, ipc, method=method)
    order = (preprocessing, "normalize", "zca")
    return min(found, key=lambda entry: order.index(entry.preprocessing), default=None)


def rows(presets: Iterable[Preset] | None = None) -> list[dict[str, Any]]:
    """Return presets, by default all, as dictionaries of plain values for a table or JSON."""
    chosen = PRESETS.values() if presets is None else presets
    return [{"name": entry.name} | asdict(entry) | {"knots": list(entry.knots)} for entry in chosen]
