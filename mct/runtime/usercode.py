"""Code of users, which is named as `package.module:name`.

Importing a module executes it. A name is therefore imported only if the user gave it, which the callers see
to. Modules are also imported from the current working directory, as with `python -m`.
"""

import contextlib
import hashlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mct.errors import ConfigError


def find(reference: str, setting: str) -> Any:
    """Import a module, and return what has the name in it.

    Args:
        reference: `package.module:name`.
        setting: The setting that the user gave, for messages.

    Raises:
        ConfigError: The module cannot be imported, or has nothing of this name.
    """
    module_name, _, name = reference.partition(":")
    with failures(f"importing {module_name}", setting), _working_folder():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as exc:
            if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
                raise  # the module exists, but imports one that does not
            raise ConfigError(
                f"`{setting}` {reference}: no module {exc.name!r} is installed, nor is there one in "
                f"{os.getcwd()}"
            ) from exc
    found = getattr(module, name, None)
    if found is None:
        place = getattr(module, "__file__", None)
        raise ConfigError(f"`{setting}` {reference}: the module {module_name} ({place}) has no {name!r}")
    return found


def source_sha256(reference: str) -> str | None:
    """Return the SHA-256 of the file of a module that `find` has imported, or None if it has none.

    Modules that this one imports are not part of it.
    """
    place = getattr(sys.modules[reference.partition(":")[0]], "__file__", None)
    return None if place is None else hashlib.sha256(Path(place).read_bytes()).hexdigest()


@contextlib.contextmanager
def failures(what: str, setting: str) -> Iterator[None]:
    """Convert any exception of the user's code to a `ConfigError` of one line.

    Args:
        what: What raised it, the beginning of the line.
        setting: The setting that named the code.
    """
    try:
        yield
    except ConfigError:
        raise
    except (Exception, SystemExit) as exc:
        reason = str(exc).partition("\n")[0]
        raise ConfigError(f"`{setting}`: {what} raised {type(exc).__name__}: {reason}") from exc


@contextlib.contextmanager
def _working_folder() -> Iterator[None]:
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the imported module may have removed the entry itself
            sys.path.remove(here)
