"""Files of options in TOML: `--config FILE` gives the options of a command, and runs write such a file.

A file has one table for each command, such as `[distill]` or `[plot.curve]`. Its keys are the long names of
options without dashes in front, such as `outer-steps`, and the names of positional arguments in lower case.
Flags are true or false. Options that may be repeated, and arguments that may be several, are lists, or one
value. Paths are relative to the working directory, as on the command line. What the command line gives takes
precedence.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from . import torchrun

__all__ = ["document", "given", "key_of", "read", "remember", "settled", "write"]

_HEADER = "# Written by "
"""How every file begins that a run has written."""

OWN = ("config", "dump_config")
"""Names of the parameters that every command has and no file may state."""

_META = "traj_cli.given"


def key_of(param: click.Parameter) -> str:
    """Return the key of a parameter: the long name of an option, or the name of an argument."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len).lstrip("-")
    return (param.metavar or param.name or "").rstrip("….").lower()


def stated(command: click.Command) -> dict[str, click.Parameter]:
    """Return the parameters of a command that a file may state, by key."""
    return {key_of(param): param for param in command.params if param.name not in OWN}


def read(path: Path, ctx: click.Context) -> dict[str, Any]:
    """Return what a file states for the command of a context, by the name of the parameter.

    Values are strings, lists of strings, or booleans for flags, so that the types of the options check them.

    Raises:
        UsageError: The file is no TOML, has no table for the command, or states something unknown.
        MissingError: There is no such file.
    """
    from trajfmt.errors import UsageError

    words = ctx.command_path.split()[1:]
    tables: Any = _load(path)
    _check_tables(path, tables, ctx)
    for word in words:
        if not isinstance(tables, dict) or word not in tables:
            raise UsageError(f"{path}: there is no table [{'.'.join(words)}] for this command; add it")
        tables = tables[word]
    known, found = stated(ctx.command), dict[str, Any]()
    for key, value in tables.items():
        if key not in known:
            raise UsageError(f"{path}: [{'.'.join(words)}] has no option {key!r}{_near(key, known)}")
        param = known[key]
        assert param.name is not None
        try:
            found[param.name] = _checked(param, value)
        except ValueError as exc:
            raise UsageError(f"{path}: `{key}` in [{'.'.join(words)}] must be {exc}, got {value!r}") from None
    return found


def _load(path: Path) -> dict[str, Any]:
    from trajfmt.errors import MissingError, UsageError

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if not path.is_file():
        raise MissingError(f"{path}: no such file; --config needs a TOML file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: is not valid TOML: {exc}") from None


def _check_tables(path: Path, tables: Mapping[str, Any], ctx: click.Context) -> None:
    """Refuse keys outside of tables, and tables for commands that neither program has."""
    from trajfmt.errors import UsageError

    from . import mct, traj

    known = {*ctx.find_root().command.commands, *mct.main.commands, *traj.main.commands}  # type: ignore[attr-defined]
    for name, table in tables.items():
        if not isinstance(table, dict):
            example = ".".join(ctx.command_path.split()[1:])
            raise UsageError(f"{path}: `{name}` is in no table; put it below [{example}]")
        if name not in known:
            raise UsageError(f"{path}: there is no command {name!r}{_near(name, known)}")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-"), list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _checked(param: click.Parameter, value: Any) -> Any:
    """Return a value as the command line would have it.

    Raises:
        ValueError: It has the wrong type; the message is what was expected.
    """
    if isinstance(param, click.Option) and param.is_flag:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    several = param.multiple or param.nargs == -1 if isinstance(param, click.Option) else param.nargs == -1
    if several:
        return [_scalar(one) for one in (value if isinstance(value, list) else [value])]
    if isinstance(value, list) and "," in param.type.name:
        return ",".join(map(_scalar, value))
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("a string or a number")
    return str(value)


def remember(ctx: click.Context, raw: Mapping[str, Any], file: Mapping[str, Any]) -> None:
    """Keep what a command was given, for the file that its run writes.

    Args:
        ctx: The context of the command.
        raw: Values on the command line by name: a list for each option.
        file: Values in a file by name, as `read` returns them.
    """
    kept: dict[str, Any] = {}
    for key, param in stated(ctx.command).items():
        values = raw.get(param.name or "") or ()
        if isinstance(param, click.Option) and values:
            kept[key] = list(values) if param.multiple else values[-1]
        elif values:
            kept[key] = list(values) if param.nargs == -1 else values
        elif param.name in file:
            kept[key] = file[param.name]
        else:
            continue
        kept[key] = _typed(param, kept[key])
    ctx.meta[_META] = kept


def given(ctx: click.Context) -> dict[str, Any]:
    """Return what a command was given, on the command line or in a file, by key and with types of TOML."""
    return dict(ctx.meta.get(_META, {}))


def _typed(param: click.Parameter, value: Any) -> Any:
    """Return numbers instead of strings where the option takes numbers. Its own type has accepted them."""
    for kind, name in ((int, "integer"), (float, "float")):
        if isinstance(value, str) and param.type.name.startswith(name):
            try:
                return kind(value)
            except ValueError:
                return value
    return value


def settled(ctx: click.Context, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a command was given, and the settings that follow from it, by key.

    Args:
        ctx: The context of the command.
        settings: Settings by the name of their parameter; others, and those that are None, are left out.
    """
    known, found = stated(ctx.command), given(ctx)
    for key, param in known.items():
        if settings.get(param.name or "") is not None:
            found[key] = settings[param.name or ""]
    return {key: found[key] for key in known if key in found}


def document(ctx: click.Context, settings: Mapping[str, Any], *remarks: str) -> str:
    """Return a file for the command of a context.

    Args:
        ctx: The context of the command.
        settings: Values by key.
        remarks: Lines to put above, as comments.
    """
    import tomli_w

    table: dict[str, Any] = dict(settings)
    for word in reversed(ctx.command_path.split()[1:]):
        table = {word: table}
    return "".join(f"# {line}\n" for line in remarks) + tomli_w.dumps(table)


def write(path: Path, ctx: click.Context, settings: Mapping[str, Any], *remarks: str) -> bool:
    """Write the file of a run, and return whether it was written: a file of the user is not replaced."""
    from trajfmt.storage import write_file

    program = torchrun.program()[-1].rpartition(".")[2]
    command = f"{program} {' '.join(ctx.command_path.split()[1:])}"
    first = f"{_HEADER[2:]}{command}. To repeat the run: {command} --config {path.name} --out OTHER"
    try:
        foreign = path.exists() and not path.read_bytes().startswith(_HEADER.encode())
        if not foreign:
            write_file(path, document(ctx, settings, first, *remarks).encode())
    except OSError:
        return False
    return not foreign
