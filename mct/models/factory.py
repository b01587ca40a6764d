"""Networks built by user code, which is named as `package.module:factory`.

Importing a module executes it. A factory is therefore imported only if the user named it on the command line,
which `allow` records. The name of a factory in a bundle or a result file is not sufficient. Building a
network leaves torch's global random state unchanged.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor, nn

from mct.errors import ConfigError
from mct.runtime import usercode
from trajfmt.schema import FACTORY, MAX_FACTORY

REFERENCE: Final = re.compile(FACTORY)
"""Pattern of `package.module:factory`."""

_ALLOWED: Final[set[str]] = set()
"""The factories that the user has named."""


def allow(reference: str) -> None:
    """Permit `call` to import a factory. Do not pass a name that was read from a file.

    Args:
        reference: `package.module:factory`, as the user gave it.

    Raises:
        ConfigError: If `reference` is too long for a manifest.
    """
    if len(reference) > MAX_FACTORY:
        raise ConfigError(f"`model` must have at most {MAX_FACTORY} characters, got {len(reference)}")
    _ALLOWED.add(reference)


def require_allowed(reference: str) -> None:
    """Check that the user has named this factory.

    Raises:
        ConfigError: If not. The message contains the option that permits it.
    """
    if reference not in _ALLOWED:
        raise ConfigError(
            f"the file names the code {reference!r} as the builder of its network, and that code is not run "
            f"without your consent; give --model {reference} if you trust it"
        )


def call(
    reference: str, *, channels: int, image_size: int, classes: int, generator: torch.Generator
) -> nn.Module:
    """Build a network with a user's factory, and check that it can be trained and matched.

    The factory is called as `factory(channels=…, image_size=…, classes=…)` while torch's global CPU generator
    is seeded from `generator`. It must not use any other source of random numbers. Modules are also imported
    from the current working directory, as with `python -m`.

    Args:
        reference: `package.module:factory`, permitted by `allow`.
        channels: Channels of the images.
        image_size: Height and width of the images.
        classes: Number of classes.
        generator: A generator on the CPU. One number is drawn from it.

    Returns:
        The network on the CPU, in training mode.

    Raises:
        ConfigError: If the user has not named the factory, it cannot be imported or called, or it returns
            anything other than a module that maps images to logits and whose parameters are float32,
            trainable, and do not share memory.
    """
    require_allowed(reference)
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        factory = _find(reference)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed all other devices
        with _failures(f"{reference}(channels={channels}, image_size={image_size}, classes={classes})"):
            network = factory(channels=channels, image_size=image_size, classes=classes)
            if not isinstance(network, nn.Module):
                raise ConfigError(
                    f"`model` {reference} must return a torch.nn.Module, got {type(network).__name__}"
                )
            network = network.to("cpu")
        _check_parameters(reference, network)
        _check_output(reference, network, torch.zeros(2, channels, image_size, image_size), classes)
    _check_memory(reference, network)  # only now do the parameters of lazy layers have memory
    return network


def source_sha256(reference: str) -> str | None:
    """Return the SHA-256 of the file of a factory's module, or None if it has none.

    Runs record it, so that none goes on with another network after the file was edited. Modules that this one
    imports are not part of it.

    Raises:
        ConfigError: If the user has not named the factory, or it cannot be imported.
    """
    require_allowed(reference)
    _find(reference)
    return usercode.source_sha256(reference)


def _find(reference: str) -> Callable[..., Any]:
    """Import the module, and return the factory in it."""
    factory = usercode.find(reference, "model")
    if not callable(factory):
        raise ConfigError(f"`model` {reference} must be callable, got {type(factory).__name__}")
    found: Callable[..., Any] = factory
    return found


def _failures(what: str) -> AbstractContextManager[None]:
    """Convert any exception of the user's code to a `ConfigError` of one line that begins with `what`."""
    return usercode.failures(what, "model")


def _check_output(reference: str, network: nn.Module, images: Tensor, classes: int) -> None:
    training = network.training
    with torch.no_grad(), _failures(f"the network of {reference}, given images {tuple(images.shape)},"):
        logits = network.eval()(images)
    network.train(training)
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != (2, classes):
        raise ConfigError(
            f"`model` {reference}: for images {tuple(images.shape)} the network must return logits "
            f"{(2, classes)}, got {found}"
        )


def _check_parameters(reference: str, network: nn.Module) -> None:
    if next(network.parameters(), None) is None:
        raise ConfigError(f"`model` {reference}: the network has no parameters")
    for name, value in network.named_parameters():
        if value.dtype != torch.float32:
            raise ConfigError(f"`model` {reference}: parameter `{name}` must be float32, got {value.dtype}")
        if not value.requires_grad:
            raise ConfigError(
                f"`model` {reference}: parameter `{name}` is frozen (requires_grad=False), but trajectory "
                "matching trains every parameter; register it as a buffer"
            )


def _check_memory(reference: str, network: nn.Module) -> None:
    owners: dict[int, str] = {}
    for name, value in network.named_parameters(remove_duplicate=False):
        address = value.untyped_storage().data_ptr()
        if address and (owner := owners.setdefault(address, name)) != name:
            raise ConfigError(
                f"`model` {reference}: parameters `{owner}` and `{name}` share memory, but a trajectory "
                "contains every parameter separately; use networks without shared weights"
            )
