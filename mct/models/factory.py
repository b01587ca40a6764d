"""Networks that other people's code builds: `package.module:factory`, named by the user alone.

Importing a module runs it, so what a file names is never imported: only `allow`, called with a name
from the command line, opens the way. The global random state is as before, whatever the factory draws.
"""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn

from mct.errors import ConfigError
from trajfmt.schema import FACTORY, MAX_FACTORY

REFERENCE: Final = re.compile(FACTORY)
"""`package.module:factory`."""

_ALLOWED: Final[set[str]] = set()


def allow(reference: str) -> None:
    """Let `call` import what the user has named; never to be given a name from a file.

    Raises:
        ConfigError: It is longer than a manifest can hold.
    """
    if len(reference) > MAX_FACTORY:
        raise ConfigError(f"`model` must have at most {MAX_FACTORY} characters, got {len(reference)}")
    _ALLOWED.add(reference)


def require_allowed(reference: str) -> None:
    """Raise unless the user has named this factory.

    Raises:
        ConfigError: With the option that does.
    """
    if reference not in _ALLOWED:
        raise ConfigError(
            f"the network is built by the code {reference!r}, which the file names and you did not: "
            f"give --model {reference} if you trust it"
        )


def call(
    reference: str, *, channels: int, image_size: int, classes: int, generator: torch.Generator
) -> nn.Module:
    """Build a network by a factory, and check that it can be trained and matched.

    The factory is called as `factory(channels=, image_size=, classes=)`, with torch's global generator
    of the CPU seeded from `generator`; it must draw from no other. The folder that the command runs in
    can be imported from, as with `python -m`.

    Args:
        reference: `package.module:factory`; see `allow`.
        channels: Of the images.
        image_size: Height and width of the images.
        classes: Logits per image.
        generator: On the CPU; one number is drawn.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ConfigError: The user has not named it, it cannot be imported or called, or what it returns is
            not a module of float32 parameters with memory of their own that maps images to logits.
    """
    require_allowed(reference)
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        factory = _find(reference)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed devices for good
        with _failures(f"{reference}(channels={channels}, image_size={image_size}, classes={classes})"):
            network = factory(channels=channels, image_size=image_size, classes=classes)
            if not isinstance(network, nn.Module):
                raise ConfigError(
                    f"`model` {reference} must return a torch.nn.Module, got {type(network).__name__}"
                )
            network = network.to("cpu")
        _check_parameters(reference, network)
        _check_output(reference, network, torch.zeros(2, channels, image_size, image_size), classes)
    _check_memory(reference, network)  # after the trial: lazy layers have none before
    return network


def _find(reference: str) -> Callable[..., Any]:
    """Import the module and return the factory."""
    module_name, _, name = reference.partition(":")
    with _failures(f"importing {module_name}"), _working_folder():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as exc:
            if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
                raise  # the module is there, and one that it imports is not
            raise ConfigError(
                f"`model` {reference}: no module {exc.name!r}, neither in {os.getcwd()} nor installed"
            ) from exc
    factory = getattr(module, name, None)
    if factory is None:
        place = getattr(module, "__file__", None)
        raise ConfigError(f"`model` {reference}: the module {module_name} ({place}) has no {name!r}")
    if not callable(factory):
        raise ConfigError(f"`model` {reference} must be callable, it is {type(factory).__name__}")
    found: Callable[..., Any] = factory
    return found


@contextlib.contextmanager
def _working_folder() -> Iterator[None]:
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the module may have taken it out itself
            sys.path.remove(here)


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into one line that names it."""
    try:
        yield
    except ConfigError:
        raise
    except (Exception, SystemExit) as exc:
        reason = str(exc).partition("\n")[0]
        raise ConfigError(f"`model`: {what} raised {type(exc).__name__}: {reason}") from exc


def _check_output(reference: str, network: nn.Module, images: Tensor, classes: int) -> None:
    training = network.training
    with torch.no_grad(), _failures(f"the network of {reference}, given images {tuple(images.shape)},"):
        logits = network.eval()(images)
    network.train(training)
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != (2, classes):
        raise ConfigError(
            f"`model` {reference}: 2 images {tuple(images.shape[1:])} must give logits {(2, classes)}, "
            f"got {found}"
        )


def _check_parameters(reference: str, network: nn.Module) -> None:
    if next(network.parameters(), None) is None:
        raise ConfigError(f"`model` {reference}: the network has no parameters")
    for name, value in network.named_parameters():
        if value.dtype != torch.float32:
            raise ConfigError(f"`model` {reference}: parameter `{name}` must be float32, it is {value.dtype}")
        if not value.requires_grad:
            raise ConfigError(
                f"`model` {reference}: parameter `{name}` is frozen, but matching trains every parameter; "
                "make it a buffer"
            )


def _check_memory(reference: str, network: nn.Module) -> None:
    owners: dict[int, str] = {}
    for name, value in network.named_parameters(remove_duplicate=False):
        address = value.untyped_storage().data_ptr()
        if address and (owner := owners.setdefault(address, name)) != name:
            raise ConfigError(
                f"`model` {reference}: parameters `{owner}` and `{name}` share memory; a trajectory holds "
                "every parameter once"
            )
