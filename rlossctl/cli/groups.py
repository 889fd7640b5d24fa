"""Additions to click: options under headings, suggestions for commands, usage errors as one paragraph."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import click

from rlossctl.errors import UsageError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_HEADINGS: WeakKeyDictionary[click.Parameter, str] = WeakKeyDictionary()

_COLUMN = 30  # click's widest first column


class _Helped(click.Command):
    """Has -h beside --help, also where it is called without the command above it."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """A context with both names."""
        return super().make_context(*args, **{"help_option_names": ["-h", "--help"], **extra})


class Command(_Helped):
    """A command whose help shows its options under the headings of `option_group`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the groups in the order of their first options, then the options without a group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(_HEADINGS.get(parameter, ""), []).append(record)
        ungrouped = groups.pop("", [])
        groups["Other options" if groups else "Options"] = ungrouped
        width = min(max(len(first) for records in groups.values() for first, _ in records), _COLUMN)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl([(first.ljust(width), text) for first, text in records])


class Group(_Helped, click.Group):
    """A group of such commands. For an unknown name it suggests similar ones."""

    command_class: type[click.Command] | None = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            raise NoSuchCommand(name, self.list_commands(ctx), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes every command with its whole first sentence."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, found.get_short_help_str(limit=1000)) for name, found in commands if found]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class NoSuchCommand(click.UsageError):
    """A name that the group does not have, with similar names."""

    def __init__(self, name: str, known: list[str], ctx: click.Context) -> None:
        super().__init__(f"No such command {name!r}.", ctx)
        self.possibilities = difflib.get_close_matches(name, known)

    def format_message(self) -> str:
        """The sentence with the suggestion, for click's own error display."""
        near = " or ".join(map(repr, self.possibilities))
        return f"{self.message} Did you mean {near}?" if near else self.message


def command(name: str, epilog: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Makes a function a command whose options may have headings."""
    return click.command(name, cls=Command, epilog=epilog)


def group(name: str) -> Callable[[Callable[..., Any]], Group]:
    """Makes a function a group of commands."""
    return click.group(name, cls=Group)


def option_group(heading: str, *options: Decorator) -> Decorator:
    """Adds options and puts them under one heading of the help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            known = len(parameters(function))
            function = option(function)
            for added in parameters(function)[known:]:
                _HEADINGS.setdefault(added, heading)
        return function

    return decorate


def gathered(name: str, build: Callable[..., object], *options: Decorator) -> Decorator:
    """Adds options; `build` makes one value of them, which the command gets as the argument `name`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **values: Any) -> Any:
            mine = {key: values.pop(f"{name}_{key}") for key in keys}
            return function(*args, **{name: build(**mine)}, **values)

        result: Callable[..., Any] = wrapped
        known = len(parameters(result))
        for option in reversed(options):
            result = option(result)
        keys = []
        for parameter in parameters(result)[known:]:
            assert parameter.name
            keys.append(parameter.name)
            parameter.name = f"{name}_{parameter.name}"  # two such values may have options with the same name
        return result

    return decorate


def parameters(function: Callable[..., Any]) -> list[click.Parameter]:
    """The parameters that click's decorators have added to a function so far; the help shows the last one
    first."""
    found: list[click.Parameter] = getattr(function, "__click_params__", [])
    return found


def explained(error: click.UsageError) -> UsageError:
    """A usage error as one paragraph: what is wrong, what would be right, where the help is."""
    near: list[str] = list(getattr(error, "possibilities", None) or ())
    message = error.message if near else error.format_message()
    context = error.ctx
    where = context.command_path if context else "rlossctl"
    usage = context.get_usage().partition(" ")[2] if context else None
    hint = f"{where} --help"
    return UsageError(
        message[:1].lower() + message[1:].rstrip("."),
        where=where,
        expected=" ".join(usage.split()) if usage and not near else None,
        advice=f"did you mean {' or '.join(near)}? {hint} lists all" if near else f"see {hint}",
    )
