"""Checks of the values of settings; each raises a `ConfigError` that names the setting and its range."""

from collections.abc import Sequence

from mct.errors import ConfigError

LARGEST = 1e30
"""Largest value of any float setting. Settings are used in float32, whose largest number is 3.4e38."""

_MOST = {"inner_steps": 100_000}
"""Upper bounds of settings that are lower than 2^31 - 1.

The number of inner steps is limited, because a distillation keeps the weights after each of them.
"""


def at_least(name: str, value: int | None, least: int) -> None:
    """Require a whole number from `least` to its upper bound; None passes.

    Raises:
        ConfigError: If it is not.
    """
    most = _MOST.get(name, 2**31 - 1)
    if value is not None and not least <= value <= most:
        bound = f">= {least}" if value < least else f"<= {most}"
        raise ConfigError(f"`{name}` must be {bound}, got {value!r}")


def finite(name: str, value: float, *, positive: bool = False) -> None:
    """Require a number from 0 (more than 0 if `positive`) to `LARGEST`.

    Raises:
        ConfigError: If it is not.
    """
    if not 0 <= value <= LARGEST or (positive and value == 0):
        bound = "> 0" if positive else ">= 0"
        raise ConfigError(f"`{name}` must be a finite number {bound}, at most {LARGEST:g}, got {value!r}")


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Require one of some words.

    Raises:
        ConfigError: If it is none of them.
    """
    if value not in choices:
        raise ConfigError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}")
