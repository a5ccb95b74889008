"""The options that every command for many Spaces has."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.cli._amounts import SpaceAmount, WaveList
from spaces_async.cli._command import apply
from spaces_async.cli._durations import Seconds
from spaces_async.cli._report_option import report_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async.bulk import Operation
    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._targets import Targets

__all__ = [
    "DEFAULT_CONCURRENCY",
    "run_bulk",
    "timeout_option",
    "with_bulk",
    "with_bulk_of_run",
    "with_bulk_that_asks",
    "with_concurrency",
    "with_work",
]

DEFAULT_CONCURRENCY: Final = 16
_CONCURRENCY_LIMIT: Final = 1000
_MAX_OUTAGE_SECONDS: Final = 600


def with_concurrency(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--concurrency`."""
    option = click.option(
        "--concurrency",
        type=click.IntRange(1, _CONCURRENCY_LIMIT),
        default=DEFAULT_CONCURRENCY,
        show_default=True,
        metavar="N",
        help="How many Spaces to work on at the same time.",
    )
    return apply(function, [option])


def with_bulk(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a bulk; it gets them as `arguments`."""
    return _with_bulk(
        _with_journal(function), "Skip the confirmation for org-wide writes."
    )


def with_bulk_that_asks(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do the same for a command that asks in any case."""
    return _with_bulk(_with_journal(function), "Do not ask.")


def with_bulk_of_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do the same for a command that is about an earlier run."""
    return _with_bulk(function, "Do not ask.")


def _with_journal(function: Callable[..., Any]) -> Callable[..., Any]:
    option = click.option(
        "--journal",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Record progress in FILE, and send nothing that cannot be recorded. Else"
        " it is recorded as a run, as far as that can be: see `spaces-async runs`.",
    )
    store = click.option(
        "--store",
        metavar="URL",
        help="Keep the run in Redis, where other hosts take a part of it with"
        " `spaces-async work URL`: redis://HOST:6379/1/NAME.",
    )
    lease = click.option(
        "--lease",
        type=Seconds(),
        metavar="SECONDS",
        help="With --store: what a lost host held is taken over after this time."
        " [default: 60]",
    )
    return apply(function, [option, store, lease])


def _with_bulk(function: Callable[..., Any], yes: str) -> Callable[..., Any]:
    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        from attrs import fields

        from spaces_async.cli._bulk import BulkArguments

        names = [attribute.name for attribute in fields(BulkArguments)]
        found = {name: given.pop(name) for name in names if name in given}
        arguments = BulkArguments(**found)
        return function(*args, arguments=arguments, **given)

    options: list[Callable[[Any], Any]] = [
        click.option(
            "--dry-run", is_flag=True, help="Print the plan; nothing is sent."
        ),
        click.option("-y", "--yes", is_flag=True, help=yes),
        click.option(
            "--max-targets",
            type=SpaceAmount(),
            metavar="N|20%",
            help="Send nothing if more Spaces than these would be changed: a number, or"
            " a share of all Spaces of the owner.",
        ),
        click.option(
            "--fail-fast",
            is_flag=True,
            help="Start no further Space after the first failure.",
        ),
        click.option(
            "--max-failures",
            type=SpaceAmount(),
            metavar="N|5%",
            help="Start no further Space after so many failures: a number, or a share"
            " of all. With --waves the first one halts unless this is given.",
        ),
        click.option(
            "--waves",
            type=WaveList(),
            metavar="1,5,20%,100%",
            help="Go on in waves: how many Spaces in all have been started by the end of"
            " each, in the order in which they are named or listed; a last wave takes"
            " the rest. The next one begins when all are healthy, or paused by a pause;"
            " one that is not halts the rest. Keys steer it at a terminal, and a dry run shows them.",
        ),
        click.option(
            "--pause-between",
            type=Seconds(),
            metavar="SECONDS",
            help="How long to wait between two waves.",
        ),
        click.option(
            "--max-unavailable",
            type=SpaceAmount(),
            metavar="N|20%",
            help="How many Spaces may be on their way at the same time.",
        ),
        click.option(
            "--probe",
            metavar="PATH",
            help="A Space is well only when its app answers at this path, such as"
            " /health.",
        ),
        click.option(
            "--healthy-for",
            type=Seconds(),
            metavar="SECONDS",
            help="A Space is well only when it has stayed so for this long.",
        ),
        *_limits(),
        report_option(),
    ]
    return with_concurrency(apply(command, options))


def with_work(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what each host of a run chooses for itself."""
    return with_concurrency(apply(function, [*_limits(), report_option()]))


def _limits() -> list[Callable[[Any], Any]]:
    return [
        click.option(
            "--deadline",
            type=Seconds(),
            metavar="SECONDS",
            help="Stop everything after this time.",
        ),
        click.option(
            "--max-outage",
            type=Seconds(),
            metavar="SECONDS",
            default=_MAX_OUTAGE_SECONDS,
            show_default=True,
            help="Stop once the Hub has been down for this long.",
        ),
    ]


def timeout_option(text: str, default: float | None) -> Callable[[Any], Any]:
    """Return the option `--timeout`."""
    return click.option(
        "--timeout",
        type=Seconds(zero=True),
        default=default,
        show_default=default is not None,
        metavar="SECONDS",
        help=text,
    )


def run_bulk(
    app: App,
    operation: Operation[Any],
    targets: Targets,
    arguments: BulkArguments,
) -> int:
    """Run a bulk command and return the exit code."""
    from spaces_async.cli._bulk import BulkCommand

    return BulkCommand(app, operation, targets, arguments).run()
