"""Our kind of click command, the options they share, and the sections of the help."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from spaces_async.cli._aliases import alias, other_options, proposal
from spaces_async.cli._conceal import concealed, is_file, names_of_sources
from spaces_async.cli._confirm import NoTerminalError
from spaces_async.cli._durations import Seconds
from spaces_async.cli._errors import in_shell_words
from spaces_async.cli._help import Formatter, bold, write_options
from spaces_async.cli._ledger_type import LedgerType
from spaces_async.cli._text import full_stop
from spaces_async.errors import ConfigurationError

__all__ = [
    "Command",
    "Group",
    "JournalSecretCommand",
    "SecretCommand",
    "SecretGroup",
    "Section",
    "apply",
    "common_options",
    "examples",
    "pass_app",
]

_TYPED: Final = "spaces_async.typed"
"""Where a context keeps the arguments as they were typed."""

_SOURCES: Final = frozenset({"--from-env", "--from-file"})
"""Options with KEY=..., where what follows is no value."""

F = TypeVar("F", bound=Callable[..., Any])


def common_options(*, hidden: bool) -> list[click.Option]:
    """Return the options that work before and after the name of a command.

    Only the help of the main command shows them, so that that of the others stays short.
    """
    seconds, positive = Seconds(zero=True), Seconds()
    made: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (
            ("--endpoint",),
            {
                "metavar": "URL",
                "help": "The Hub. Default: HF_ENDPOINT, else https://huggingface.co.",
            },
        ),
        (
            ("--token-file",),
            {
                "type": click.Path(dir_okay=False, path_type=Path),
                "help": "Read the token from a file. Default: HF_TOKEN, else the"
                " login of `hf auth login`.",
            },
        ),
        (("--anonymous",), {"is_flag": True, "help": "Use no token."}),
        (
            ("--max-wait",),
            {
                "type": seconds,
                "metavar": "SECONDS",
                "help": "Longest wait for the Hub's quota. Default: no limit.",
            },
        ),
        (
            ("--call-timeout",),
            {
                "type": positive,
                "metavar": "SECONDS",
                "help": "Time limit of one call with its retries. Default: 600.",
            },
        ),
        (
            ("--ledger",),
            {
                "type": LedgerType(dir_okay=False, path_type=Path),
                "metavar": "FILE|URL",
                "help": "Share the Hub's quota with programs on this host that use"
                " the same file, or on any host that use the same Redis.",
            },
        ),
        (
            ("--sharing",),
            {
                "type": click.Choice(["greedy", "strict"]),
                "help": "When other hosts use the same token: go as fast as possible"
                " (greedy), or avoid 429 answers (strict). Default: greedy.",
            },
        ),
        (
            ("--no-proxy",),
            {"is_flag": True, "help": "Connect directly, whatever HTTP_PROXY says."},
        ),
        (
            ("--ca-file",),
            {
                "type": click.Path(dir_okay=False, path_type=Path),
                "metavar": "FILE",
                "help": "Trust the certificates in FILE (PEM), such as those of a"
                " company's proxy, instead of the usual ones.",
            },
        ),
        (
            ("--insecure-http",),
            {
                "is_flag": True,
                "help": "Send the token to an http:// endpoint: others can read it.",
            },
        ),
        (("--json",), {"is_flag": True, "help": "Print results as JSON."}),
        (("-q", "--quiet"), {"is_flag": True, "help": "No progress, no messages."}),
        (
            ("-v", "--verbose"),
            {
                "count": True,
                "help": "Show errors in full, with request ids; -vv shows the log.",
            },
        ),
    ]
    return [click.Option(names, hidden=hidden, **more) for names, more in made]


_HIDDEN: Final = tuple(common_options(hidden=True))
"""The same for all commands: an option keeps nothing about the command that has it."""

_COMMON: Final = tuple(str(option.name) for option in _HIDDEN)

pass_app: Final = click.pass_obj
"""Gives a command the `App` that `Command.invoke` makes."""


class Command(click.Command):
    """A command that also takes the common options, and makes the `App`."""

    def __init__(self, *args: Any, **given: Any) -> None:
        given["params"] = [*given.get("params", ()), *_HIDDEN]
        super().__init__(*args, **given)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, with headings in bold."""
        ctx.formatter_class = Formatter
        return super().get_help(ctx)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the options below their headings, those of the command first."""
        write_options(self.get_params(ctx), ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; the opposite of a wrong option is not proposed."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            found = other_options(name, error.possibilities or ())
            raise click.NoSuchOption(name, possibilities=found, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Merge the options before and after the name, then run the command.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; the work has been cancelled and has
                ended.
        """
        # What runs a command is imported when one runs, not for the help.
        from asyncio import CancelledError

        from spaces_async.cli._app import App
        from spaces_async.cli._output import Output

        before = cast("dict[str, Any]", ctx.find_object(dict) or {})
        here = {name: ctx.params.pop(name) for name in _COMMON}
        options = {name: here[name] or before.get(name) for name in _COMMON}
        if here["max_wait"] is not None:
            # 0 is a value of its own: do not wait at all.
            options["max_wait"] = here["max_wait"]
        if options["anonymous"] and options["token_file"]:
            raise click.UsageError("Use --anonymous or --token-file, not both.")
        ctx.obj = App(
            output=Output(json=bool(options["json"]), quiet=bool(options["quiet"])),
            endpoint=options["endpoint"],
            token_file=options["token_file"],
            anonymous=bool(options["anonymous"]),
            max_wait=options["max_wait"],
            call_timeout=options["call_timeout"] or 600.0,
            ledger=options["ledger"],
            sharing=options["sharing"] or "greedy",
            verbose=options["verbose"] or 0,
            no_proxy=bool(options["no_proxy"]),
            ca_file=options["ca_file"],
            insecure_http=bool(options["insecure_http"]),
        )
        try:
            return super().invoke(ctx)
        except CancelledError:
            raise KeyboardInterrupt from None


class SecretCommand(Command):
    """A command whose messages about wrong usage never show what was typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; refuse them without showing them."""
        ctx.meta[_TYPED] = list(args)
        with self._concealing(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, whose own checks show nothing either."""
        with self._concealing(ctx):
            return super().invoke(ctx)

    def shown_words(self, ctx: click.Context) -> frozenset[str]:
        """Return the arguments that messages may show: names, and no values."""
        return names_of_sources(ctx.meta[_TYPED])

    def shown_text(self, ctx: click.Context) -> str | None:  # noqa: ARG002
        """Return a text that messages show as it is, if there is one."""
        return None

    @contextmanager
    def _concealing(self, ctx: click.Context) -> Generator[None]:
        typed: list[str] = ctx.meta[_TYPED]
        names = {name for p in self.params for name in (*p.opts, *p.secondary_opts)}
        try:
            yield
        except NoTerminalError:
            raise  # It names what is about to be done, which was accepted.
        except (click.UsageError, ConfigurationError) as error:
            raw = isinstance(error, click.UsageError)
            text = error.format_message() if raw else in_shell_words(str(error))  # type: ignore[union-attr]
            names |= self.shown_words(ctx)
            shown = self.shown_text(ctx)
            message = concealed(text.rstrip("."), typed, names, shown)
            raise click.UsageError(full_stop(message), ctx) from None


class JournalSecretCommand(SecretCommand):
    """The same for a command whose messages are about a run: they may name it."""

    def shown_words(self, ctx: click.Context) -> frozenset[str]:
        """Return files, what names a run, and the keys whose values are elsewhere."""
        from spaces_async.cli._runs import runs

        typed: list[str] = ctx.meta[_TYPED]
        files = {word for word in typed if is_file(word)}
        sources = pairwise(typed)
        keys = {
            word.partition("=")[0]
            for option, word in sources
            if option in _SOURCES and "=" in word
        }
        given = _run_of(ctx)
        names = {given for run in runs() if given and run.name.startswith(given)}
        return super().shown_words(ctx) | files | keys | names

    def shown_text(self, ctx: click.Context) -> str | None:
        """Return the URL of the run as messages have it, without its password."""
        from spaces_async.bulk._store.url import place_of
        from spaces_async.cli._runs import is_url

        given = _run_of(ctx)
        with suppress(ConfigurationError):
            return place_of(given).shown if is_url(given) else None
        return None  # What is no URL of a run may be a value.


def _run_of(ctx: click.Context) -> str:
    """Return what was given for the run; "" if that is not known."""
    return ctx.params.get("file") or ""


class Group(click.Group):
    """A group of such commands, in the order of their definition."""

    command_class: type[click.Command] | None = Command

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of their definition."""
        return list(self.commands)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, with headings in bold."""
        ctx.formatter_class = Formatter
        return super().get_help(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name or an alias."""
        return super().get_command(ctx, alias(cmd_name, self.commands.keys()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names.

        Raises:
            UsageError: There is none; it says which one was probably meant.
        """
        name = args[0]
        found = self.get_command(ctx, name)
        if found is not None:
            return found.name, found, args[1:]
        meant = proposal(name, self.commands.keys())
        if meant is None or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise click.UsageError(
            f"There is no command {name!r}; did you mean {meant!r}?", ctx
        )


Group.group_class = Group


class SecretGroup(Group):
    """A group of commands that take secrets."""

    command_class: type[click.Command] | None = SecretCommand


class Section:
    """A section of the main help; see `spaces_async.cli.commands`.

    Attributes:
        commands: Its commands by name, in the order of their definition.
    """

    def __init__(self) -> None:
        self.commands: dict[str, click.Command] = {}

    def command(
        self, name: str, *lines: str, kind: type[Command] = Command
    ) -> Callable[[Callable[..., Any]], click.Command]:
        """Make a function a command of this section.

        Args:
            name: The command's name.
            lines: Examples for the end of its help.
            kind: Its class.
        """

        def decorate(function: Callable[..., Any]) -> click.Command:
            made = click.command(name, cls=kind, epilog=examples(*lines))(function)
            self.commands[name] = made
            return made

        return decorate

    def group(
        self, name: str, kind: type[Group] = Group
    ) -> Callable[[Callable[..., Any]], Group]:
        """Make a function a group of commands of this section."""

        def decorate(function: Callable[..., Any]) -> Group:
            made = click.group(name, cls=kind)(function)
            self.commands[name] = made
            return made

        return decorate


def apply(function: F, options: list[Callable[[F], F]]) -> F:
    """Put options on a function in the order in which the help shows them."""
    for option in reversed(options):
        function = option(function)
    return function


def examples(*lines: str) -> str:
    """Return the examples at the end of a help text; click must not join the lines."""
    head = bold("Example:" if len(lines) == 1 else "Examples:")
    return "\n".join(["\b", head, *(f"  {line}" for line in lines)])
