"""From the name of a torch device to a device that works, or a clear error."""

import torch

from mct.errors import ConfigError


def device_of(name: str) -> torch.device:
    """Return the device `name`, like `cpu` or `cuda:0`, after allocating on it.

    Raises:
        ConfigError: There is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as exc:  # torch raises all three
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ConfigError(f"`device` {name!r} cannot be used: {reason}") from exc
    if device.type == "meta":
        raise ConfigError("`device` 'meta' cannot be used: it computes nothing")
    return device
