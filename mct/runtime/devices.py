"""Turns the name of a torch device into a device that has been tried, or raises a clear error."""

from typing import Final

import torch

from mct.errors import ConfigError

AUTO: Final = "auto"
"""As the name of a device: the GPU where torch finds one, else the CPU."""


def device_of(name: str) -> torch.device:
    """Return the device `name`, like `cpu`, `cuda:0` or `auto`, after computing something on it.

    Raises:
        ConfigError: There is no such device here.
    """
    name = settled(name)
    try:
        device = torch.device(name)
        one = torch.zeros(1, device=device) + 1
        if device.type != "meta":
            one.cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as exc:  # torch raises all three
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        instead = "; --device cpu computes on the CPU" if name.startswith("cuda") else ""
        raise ConfigError(f"`device` {name!r} cannot be used: {reason}{instead}") from exc
    if device.type == "meta":
        raise ConfigError("`device` 'meta' cannot be used: it computes nothing; use cpu, cuda or auto")
    return device


def settled(name: str) -> str:
    """Return the name of a device with `auto` replaced by `cuda` or `cpu`.

    Example:
        >>> settled("cuda:1")
        'cuda:1'
    """
    if name != AUTO:
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def described(name: str) -> str:
    """Return what a device is, for people: a GPU with its model, the CPU with its threads."""
    device = torch.device(name)
    if device.type == "cuda":
        return f"{name}, {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"the CPU, {threads} thread{'s' if threads > 1 else ''}"
    return name
