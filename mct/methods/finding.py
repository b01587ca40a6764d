"""The method that a user names: a published one, or a recipe in a module of the user's."""

import inspect
from types import FunctionType

from mct.errors import ConfigError
from mct.methods.recipe import PUBLISHED, Recipe
from mct.runtime import usercode
from mct.settings.presets import METHODS


def is_own(method: str | None) -> bool:
    """Return whether a method is named as code of the user's."""
    return method is not None and ":" in method


def recipe_of(method: str | None) -> Recipe:
    """Return the recipe of a method.

    Args:
        method: A name in `METHODS`; `package.module:name` for a `Recipe`, or for a function without arguments
        that
            returns one, whose module is imported; None: as the settings say. Do not pass code that was named
            by a file.

    Raises:
        ConfigError: There is no such method, its code fails, or it is something else.
    """
    if method is None or method in METHODS:
        return PUBLISHED
    if method.partition(":")[0].endswith(".py"):
        raise ConfigError(f"`method` names a module, not a file: leave `.py` out, got {method!r}")
    if not is_own(method):
        raise ConfigError(
            f"`method` must be one of {', '.join(METHODS)}, or your own as package.module:name, got "
            f"{method!r}"
        )
    found = usercode.find(method, "method")
    if isinstance(found, FunctionType) and not inspect.signature(found).parameters:
        with usercode.failures(f"{method}()", "method"):
            found = found()
    if not isinstance(found, Recipe):
        raise ConfigError(
            f"`method` {method} must be an mct.api.Recipe, or a function that returns one, got "
            f"{type(found).__name__}"
        )
    return found


def source_of(method: str | None) -> str | None:
    """Return the hash of the file of a method of the user's, which `recipe_of` has imported; else None."""
    return usercode.source_sha256(method) if method is not None and is_own(method) else None
