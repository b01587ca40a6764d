"""The types of the values that options and arguments take."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from trajfmt.storage.address import Place

__all__ = [
    "BUDGET",
    "CODEC",
    "DATASET",
    "EXPERTS",
    "INPUT",
    "INTEGERS",
    "KNOTS",
    "NUMBERS",
    "PATH",
    "PLACE",
    "SCORES",
    "SETTINGS",
    "WINDOW",
]


class _Path(click.Path):
    """A path on this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an address. A `Path` would drop one of its slashes."""
        if isinstance(value, str) and "://" in value:
            from trajfmt.storage.address import local

            value = local(value)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)


class _Input(_Path):
    """A path on this machine that is read."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a pipe, a socket or a device. Reading one could block, or never end."""
        path = super().convert(value, param, ctx)
        refuse_special(path)
        return path


INPUT = _Input(path_type=Path)


class _Scores(_Input):
    """A file of scores, or the name of scores that are computed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name as it is, and anything else as a path."""
        return value if value == "el2n" else super().convert(value, param, ctx)


SCORES = _Scores(path_type=Path)


class _Dataset(click.types.StringParamType):
    """The name of a dataset, or the path of its files."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a pipe, a socket or a device."""
        refuse_special(value)
        return super().convert(value, param, ctx)


DATASET = _Dataset()


def refuse_special(path: str | os.PathLike[str]) -> None:
    """Refuse what exists and is neither a regular file nor a folder.

    Raises:
        UnsafeError: it is a pipe, a socket or a device.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # absent, or no path at all: whoever opens it says so
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        from trajfmt.errors import UnsafeError

        raise UnsafeError(
            "path_unsafe",
            "expected a regular file or a folder, found a pipe, a socket or a device; write its contents to a"
            " file first",
            path=path,
        )


class _Type(click.ParamType):  # type: ignore[type-arg]  # click's class takes arguments since 8.4
    """Base class of the types in this module."""


class _Place(_Type):
    """A path on this machine, or the address of a bundle."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Return an address or a path."""
        if isinstance(value, str) and "://" in value:
            from trajfmt.storage.address import located

            value = located(value)
        place: Place = INPUT.convert(value, param, ctx) if isinstance(value, (str, Path)) else value
        return place

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete a path."""
        return PATH.shell_complete(ctx, param, incomplete)


class _Codec(_Type):
    """The name of a codec. The table of codecs is imported when the names are needed."""

    name = "codec"

    @staticmethod
    def _names() -> click.Choice[str]:
        from trajfmt.codecs.table import CODECS

        return click.Choice(list(CODECS))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return the names of the codecs."""
        return self._names().get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse an unknown name."""
        return self._names().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the name of a codec."""
        return self._names().shell_complete(ctx, param, incomplete)


CODEC = _Codec()
PLACE = _Place()


class _Integers(_Type):
    """A comma-separated list of whole numbers."""

    name = "N,N,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse `6,25`."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
            if "_" in str(value):  # a separator of thousands to Python, and a typing error here
                raise ValueError
        except ValueError:
            self.fail(f"expected whole numbers separated by commas, got {value!r}", param, ctx)
        if any(b <= a for a, b in zip((0, *numbers), numbers, strict=False)):
            self.fail(f"expected increasing numbers above 0, got {value!r}", param, ctx)
        return numbers


class _Knots(_Integers):
    """A comma-separated list of timesteps, or `auto` with the number of knots to place."""

    name = "N,N,…|auto[:N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse `6,25` to a tuple, and `auto` or `auto:4` to the number of knots."""
        word, colon, count = str(value).partition(":")
        if word != "auto":
            return super().convert(value, param, ctx)
        if colon and not (count.isdecimal() and len(count) < 7 and int(count) > 2):
            self.fail(f"expected auto:N with 3 or more knots, endpoints included, got {value!r}", param, ctx)
        return int(count) if colon else 4


class _Experts(_Type):
    """Numbers of experts: single ones and ranges, separated by commas."""

    name = "N,N-N,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse `17`, `0-9` or `0-3,17`, whose ranges include both ends, to increasing numbers."""
        if isinstance(value, tuple):
            return value
        numbers: list[int] = []
        for part in str(value).split(","):
            first, dash, last = part.strip().partition("-")
            if not (first.isdecimal() and (last.isdecimal() or not dash)) or max(len(first), len(last)) > 6:
                self.fail(f"expected numbers and ranges such as 17 or 0-9,17, got {value!r}", param, ctx)
            numbers += range(int(first), int(last or first) + 1)
            if int(last or first) < int(first):
                self.fail(f"expected a range from a lower to a higher number, got {part!r}", param, ctx)
        if len(set(numbers)) < len(numbers):
            self.fail(f"expected every number once, got {value!r}", param, ctx)
        return tuple(sorted(numbers))


class _Settings(_Type):
    """Names with values, separated by commas."""

    name = "KEY=VALUE,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """Parse `partition=gpu,time=120`. Dashes in front of a name are left out."""
        if isinstance(value, dict):
            return value
        found: dict[str, str] = {}
        for part in str(value).split(","):
            name, _, text = (word.strip() for word in part.partition("="))
            if not name.lstrip("-") or not text or name.lstrip("-") in found:
                self.fail(f"expected different names with values, name=value,…, got {value!r}", param, ctx)
            found[name.lstrip("-")] = text
        return found


class _Numbers(_Type):
    """A comma-separated list of finite numbers."""

    name = "X,X,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse `0.5,0.25`."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(math.isfinite(number) for number in numbers):
            self.fail(f"expected numbers separated by commas, got {value!r}", param, ctx)
        return numbers


class _Window(_Type):
    """A range of timesteps: the first one, and the one after the last."""

    name = "A:B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """Parse `0:31`, `5:` or `:31`."""
        if isinstance(value, tuple):
            return value
        try:
            first, after = (int(part) if part else None for part in str(value).split(":"))
        except ValueError:
            self.fail(f"expected FIRST:AFTER such as 0:31, got {value!r}", param, ctx)
        if (first is not None and first < 0) or (after is not None and after <= (first or 0)):
            self.fail(f"expected 0 <= FIRST < AFTER, got {value!r}", param, ctx)
        return first, after


class _Budget(_Type):
    """A number of MiB, or `auto`, which becomes None."""

    name = "MiB|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Parse `256` or `auto`."""
        if isinstance(value, int):
            return value
        try:
            return None if str(value).lower() == "auto" else int(value)
        except ValueError:
            self.fail(f"expected a whole number of MiB, or auto, got {value!r}", param, ctx)


BUDGET = _Budget()
EXPERTS = _Experts()
INTEGERS = _Integers()
KNOTS = _Knots()
NUMBERS = _Numbers()
SETTINGS = _Settings()
WINDOW = _Window()
