"""The classes of all commands and command groups.

A command refuses an option that is given twice. A group reports expected errors in one line, with their exit
code.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from . import configs, failures, interrupts, streams, values
from .sections import Sections, divided

__all__ = ["Command", "Group"]

_FLAGS: Final = 30
"""Columns of the flags in a help text, at most. Text begins on the next line after a longer one."""


class Command(click.Command):
    """A command, each of whose options can be given once, on the command line or in a file (`configs`).

    The same flag may be repeated, as that says nothing new. An option with a value may not, nor may a flag
    and its opposite: one of the two would be ignored.

    Args:
        args: as of `click.Command`.
        sections: how its help divides the options, see `sections`.
        settings: as of `click.Command`.
    """

    def __init__(self, *args: Any, sections: Sections | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sections = sections or {}
        self.params += [
            click.Option(
                ["--config"],
                type=values.INPUT,
                expose_value=False,
                help="TOML file with options, which those on the command line override (docs/sweeps.md).",
            ),
            click.Option(
                ["--dump-config"],
                is_flag=True,
                expose_value=False,
                callback=_dump,
                help="Print the given options as such a file, and do nothing else.",
            ),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, refuse an option that is given twice, and add what a file states."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        raw = self._given_once(ctx, args)
        file: dict[str, Any] = {}
        help_option = self.get_help_option(ctx)
        if raw.get("config") and not (help_option and raw.get(help_option.name or "")):
            path = values.INPUT.convert(raw["config"][-1], None, ctx)
            file = configs.read(path, ctx)
            ctx.default_map = file
        configs.remember(ctx, raw, file)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as exc:
            if exc.param is not None and exc.param.name in file and not raw.get(exc.param.name):
                where = f"{exc.message} (in {raw['config'][-1]})"
                raise click.BadParameter(where, ctx=exc.ctx, param=exc.param) from None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or print its options."""
        if ctx.meta.get(_DUMP):
            from . import lines

            for line in configs.document(ctx, configs.given(ctx)).splitlines():
                lines.say(line)
            return None
        try:
            return super().invoke(ctx)
        except Exception as exc:
            options = [param for param in self.params if isinstance(param, click.Option)]
            flags = {param.name: max(param.opts, key=len) for param in options}
            with contextlib.suppress(AttributeError):
                setattr(exc, failures.FLAGS, flags)
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section, with their texts in one column."""
        found = [
            (heading, [record for option in options if (record := option.get_help_record(ctx)) is not None])
            for heading, options in divided(self.sections, self.get_params(ctx))
        ]
        width = min(_FLAGS, max(len(flag) for _, records in found for flag, _ in records))
        for heading, records in found:
            with formatter.section(heading):
                formatter.write_dl([(flag.ljust(width), text) for flag, text in records], col_max=_FLAGS)

    def make_parser(self, ctx: click.Context) -> Any:
        """Return a parser that leaves out arguments that are absent, so that a file can state them.

        click does so with most, but some versions make those that may be several an empty tuple.
        """
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            given, rest, order = parse(args=args)
            return {name: value for name, value in given.items() if value != ()}, rest, order

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser

    def _given_once(self, ctx: click.Context, args: Sequence[str]) -> dict[str, Any]:
        """Return the words that are given for each parameter, and refuse options that are given twice."""
        parser = click.Command(None, add_help_option=False).make_parser(ctx)
        params = self.get_params(ctx)
        for param in params:
            param.add_to_parser(_Collecting(parser), ctx)  # type: ignore[arg-type]
        given, _, _ = parser.parse_args(args=list(args))
        for param in params:
            if isinstance(param, click.Option) and not param.multiple and not param.count:
                _check_once(param, given.get(param.name or "", ()))
        # click marks an argument that is absent by None, an empty tuple or an object of its own
        return {name: words for name, words in given.items() if isinstance(words, (str, list, tuple))}


_DUMP = "traj_cli.dump"


def _dump(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.meta[_DUMP] = value


class _Collecting:
    """A parser that collects every value of an option, instead of keeping the last one."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def add_option(self, *args: Any, action: str | None = None, **settings: Any) -> None:
        """Add an option."""
        collected = {None: "append", "store": "append", "store_const": "append_const"}.get(action, action)
        self._parser.add_option(*args, action=collected, **settings)

    def add_argument(self, *args: Any, **settings: Any) -> None:
        """Add an argument."""
        self._parser.add_argument(*args, **settings)


def _check_once(option: click.Option, values: Sequence[Any]) -> None:
    """Refuse several values of an option that has one.

    Raises:
        UsageError: There is more than one value, and the option is no flag that is merely repeated.
    """
    if len(values) < 2 or (option.is_flag and len(set(values)) == 1):
        return
    from trajfmt.errors import UsageError

    name = max(option.opts, key=len)
    if option.is_flag and option.secondary_opts:
        opposite = max(option.secondary_opts, key=len)
        raise UsageError(f"{name} and {opposite} contradict each other; give one of them")
    raise UsageError(f"{name} was given twice: {', then '.join(map(str, values))}; give it once")


class Group(click.Group):
    """A command group that reports expected errors in one line, with their exit code."""

    command_class = Command
    group_class = type

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        streams.prepare()
        code = 0
        failure: Exception | None = None
        try:
            found = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            code = found if isinstance(found, int) else 0
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        except click.Abort:
            failure = failures.Interrupted()
        except Exception as exc:
            failure = exc
        lost = streams.flush()
        if lost is not None and (failure is None or getattr(failure, "errno", None) == lost.errno):
            code, failure = code or 1, None
            failures.say("" if isinstance(lost, BrokenPipeError) else f"standard output: {lost.strerror}")
        if failure is not None:
            code = failures.report(failure)
        interrupts.finish(code)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, which Ctrl-C interrupts."""
        try:
            try:
                interrupts.begin()
                with failures.noted():
                    return super().invoke(ctx)
            finally:
                interrupts.end()
        except KeyboardInterrupt as exc:
            raise failures.Interrupted(str(exc)) from None
