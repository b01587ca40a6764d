"""Checking, choosing and describing torch devices."""

from typing import Final

import torch

from mct.errors import ConfigError

AUTO: Final = "auto"
"""Name of a device that means the GPU if torch finds one, and the CPU otherwise."""


def device_of(name: str) -> torch.device:
    """Return a device, after checking that it can compute.

    Args:
        name: The name of a torch device, such as `cpu` or `cuda:0`, or `auto`.

    Raises:
        ConfigError: If the device does not exist or cannot be used.
    """
    name = settled(name)
    try:
        device = torch.device(name)
        one = torch.zeros(1, device=device) + 1
        if device.type != "meta":
            one.cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as exc:  # torch raises all three
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        instead = "; use --device cpu to compute on the CPU" if name.startswith("cuda") else ""
        raise ConfigError(f"`device` {name!r} cannot be used: {reason}{instead}") from exc
    if device.type == "meta":
        raise ConfigError("`device` 'meta' cannot be used: it does not compute; use cpu, cuda or auto")
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
    """Describe a device for users: the name and model of a GPU, or the number of threads of the CPU."""
    device = torch.device(name)
    if device.type == "cuda":
        return f"{name}, {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"the CPU, {threads} thread{'s' if threads > 1 else ''}"
    return name
