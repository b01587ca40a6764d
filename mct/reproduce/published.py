"""The numbers of the MCT paper: accuracies in percent, as printed in its tables.

References:
    Zhong et al., "Towards Stable and Storage-efficient Dataset Distillation: Matching Convexified
    Trajectory", tables 1 to 3; bytes of figure 3(c): exps/storage_compare.py in the authors' repository.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Value:
    """A number of the paper."""

    mean: float
    """What is printed."""

    std: float | None = None
    """Deviation over five networks; None if none is printed."""


METHODS: Final = ("Random", "DC", "DSA", "CAFE", "DM", "PP", "MTT", "MCT")
"""The rows of table 1, in its order."""

IPCS: Final = (1, 10, 50)
"""The columns of every data set in table 1, and the rows of table 3."""

_TABLE1: Final = """
    CIFAR-10      Random  15.4±0.3 31.0±0.5 50.6±0.3
    CIFAR-10      DC      28.3±0.5 44.9±0.5 53.9±0.5
    CIFAR-10      DSA     28.8±0.7 52.1±0.5 60.6±0.5
    CIFAR-10      CAFE    30.3±1.1 46.3±0.6 55.5±0.6
    CIFAR-10      DM      26.0±0.8 48.9±0.6 63.0±0.4
    CIFAR-10      PP      46.4±0.6 65.5±0.3 71.9±0.2
    CIFAR-10      MTT     46.3±0.8 65.3±0.7 71.6±0.2
    CIFAR-10      MCT     48.5±0.2 66.0±0.3 72.3±0.3
    CIFAR-100     Random  4.2±0.3  14.6±0.5 33.4±0.4
    CIFAR-100     DC      12.8±0.3 25.2±0.3 -
    CIFAR-100     DSA     13.9±0.3 32.3±0.3 42.8±0.4
    CIFAR-100     CAFE    12.9±0.3 27.8±0.3 37.9±0.3
    CIFAR-100     DM      11.4±0.3 29.7±0.3 43.6±0.4
    CIFAR-100     PP      24.6±0.1 43.1±0.3 48.4±0.3
    CIFAR-100     MTT     24.3±0.3 40.1±0.4 47.7±0.2
    CIFAR-100     MCT     24.5±0.5 42.5±0.5 46.8±0.2
    Tiny-ImageNet Random  1.4±0.1  5.0±0.2  15.0±0.4
    Tiny-ImageNet DC      -        -        -
    Tiny-ImageNet DSA     -        -        -
    Tiny-ImageNet CAFE    -        -        -
    Tiny-ImageNet DM      3.9±0.2  12.9±0.4 24.1±0.3
    Tiny-ImageNet PP      -        -        -
    Tiny-ImageNet MTT     8.8±0.3  23.2±0.2 28.0±0.3
    Tiny-ImageNet MCT     9.6±0.5  22.6±0.8 27.6±0.4
"""

FULL: Final[Mapping[str, Value]] = {
    "CIFAR-10": Value(84.8, 0.1),
    "CIFAR-100": Value(56.2, 0.3),
    "Tiny-ImageNet": Value(37.6, 0.4),
}
"""The last row of table 1: networks that were trained on all images."""

COUNTS: Final = (1, 5, 10, 20, 50)
"""The columns of table 2: numbers of expert trajectories."""

TABLE2: Final[Mapping[str, tuple[Value, ...]]] = {
    "discrete": (Value(54.8, 0.2), Value(60.6, 0.2), Value(61.5, 0.3), Value(62.3, 0.3), Value(62.1, 0.4)),
    "continuous": (Value(56.2, 0.3), Value(61.3, 0.5), Value(61.8, 0.6), Value(62.8, 0.3), Value(62.8, 0.2)),
}
"""CIFAR-10 with ten images per class, without and with continuous sampling."""

STEPS: Final = (3, 4, 5, 6, 7)
"""The columns of table 3: values of M."""

TABLE3: Final[Mapping[int, tuple[Value, ...]]] = {
    1: (Value(46.7), Value(47.1), Value(48.5), Value(48.0), Value(45.6)),
    10: (Value(62.3), Value(62.6), Value(65.0), Value(66.0), Value(65.2)),
    50: (Value(70.0), Value(71.4), Value(71.8), Value(72.3), Value(71.8)),
}
"""CIFAR-10 with N = 50; images per class → accuracy for each M."""

STORAGE: Final[Mapping[str, tuple[int, float]]] = {
    "CIFAR-10": (532_881_660, 6.55e9),
    "CIFAR-100": (827_948_540, 10.31e9),
    "Tiny-ImageNet": (3_121_862_140, 39.56e9),
}
"""Figure 3(c): bytes of 100 convexified trajectories, and of 100 of MTT's."""


def table1(dataset: str, method: str, ipc: int) -> Value | None:
    """Return a number of table 1; None where the paper has a dash.

    Example:
        >>> table1("CIFAR-10", "MCT", 1)
        Value(mean=48.5, std=0.2)
    """
    for line in _TABLE1.split("\n"):
        if line.split()[:2] == [dataset, method] and ipc in IPCS:
            return _value(line.split()[2 + IPCS.index(ipc)])
    return None


def _value(text: str) -> Value | None:
    if text == "-":
        return None
    mean, std = text.split("±")
    return Value(float(mean), float(std))
