"""Checking, choosing and describing torch devices."""

from typing import Final

import torch

from mct.errors import ConfigError, first_line

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
        raise ConfigError(f"`device` {name!r} cannot be used: {_reason(name, exc)}") from exc
    if device.type == "meta":
        raise ConfigError("`device` 'meta' cannot be used: it does not compute; use cpu, cuda or auto")
    return device


def _reason(name: str, exc: Exception) -> str:
    """Return why a device cannot be used, and which one can."""
    kind, _, index = name.partition(":")
    instead = "use --device cpu to compute on the CPU"
    if kind == "gpu":
        return "GPUs are called cuda, or cuda:0, cuda:1 and so on; auto is the first one, if there is one"
    if kind == "mps" and not torch.backends.mps.is_available():
        return f"torch finds no GPU of Apple on this machine; {instead}"
    if str(exc) == "Torch not compiled with CUDA enabled":
        return f"this build of torch is for CPUs only; install one for your GPU, or {instead}"
    if kind == "cuda" and index.isdecimal() and torch.cuda.is_available():
        there = torch.cuda.device_count()
        if int(index) >= there:
            return f"there is only cuda:0; {instead}" if there == 1 else f"GPUs go up to cuda:{there - 1}"
    if str(exc).startswith(("Expected one of", "Invalid device string")):
        return "torch knows no such device; use cpu, cuda, cuda:N for the GPU with number N, or auto"
    return first_line(exc) + (f"; {instead}" if kind == "cuda" else "")


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
