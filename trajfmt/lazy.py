"""Packages whose names are loaded when they are first used.

Importing such a package imports none of its modules. Type checkers, editors and Sphinx see ordinary imports,
which the package has under `if TYPE_CHECKING`.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["names_of"]


def names_of(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the function `__getattr__` of a package (PEP 562).

    It imports what has been requested: a public name, or a module of the package.

    Args:
        package: the full name of the package.
        homes: for each public name, the module that defines it, relative to the package. None of the names
            is that of a module of the package.

    Example:
        >>> get = names_of("trajfmt", {"open": "bundle.reader"})
        >>> get("open").__module__
        'trajfmt.bundle.reader'
        >>> get("opened")
        Traceback (most recent call last):
        AttributeError: module 'trajfmt' has no attribute 'opened'
    """

    def get(name: str) -> Any:
        if name in homes:
            home = __import__(f"{package}.{homes[name]}", fromlist=[name])  # as `from … import name` does it
            found = getattr(home, name)
            setattr(sys.modules[package], name, found)  # so that this function is called once for each name
            return found
        full = f"{package}.{name}"
        try:
            return import_module(full)
        except ModuleNotFoundError as exc:
            if exc.name != full:
                raise  # the module exists, and needs another one that does not
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[package]) from None

    return get
