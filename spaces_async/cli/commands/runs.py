"""Earlier runs: `runs`, `resume`, `retry-failed` and `undo`; `work` and `cancel`."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.cli import _completion
from spaces_async.cli._bulk_options import with_bulk_of_run, with_work
from spaces_async.cli._command import (
    Command,
    JournalSecretCommand,
    Section,
    apply,
    pass_app,
)
from spaces_async.cli._values import with_secrets_of_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spaces_async.bulk._engine.context import OnUnknown
    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._runs import Run
    from spaces_async.cli._values import GivenSecrets

__all__ = ["section"]

section: Final = Section()


def _with_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command FILE and `--last`; it gets `run`."""

    @wraps(function)
    def command(*args: Any, file: str | None, last: bool, **given: Any) -> Any:
        from spaces_async.cli._runs import find_run

        return function(*args, run=find_run(file, last=last), **given)

    return _names_run(command, "[FILE|RUN]")


def _with_store(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command a run in a store and `--last`; it gets `store`."""

    @wraps(function)
    def command(*args: Any, file: str | None, last: bool, **given: Any) -> Any:
        from spaces_async.cli._runs import find_store

        return function(*args, store=find_store(file, last=last), **given)

    return _names_run(command, "[RUN|URL]", _completion.runs_in_stores)


def _names_run(
    function: Callable[..., Any],
    metavar: str = "[FILE|RUN|URL]",
    complete: Callable[..., Any] = _completion.runs,
) -> Callable[..., Any]:
    return apply(
        function,
        [
            click.argument(
                "file",
                metavar=metavar,
                required=False,
                shell_complete=complete,
            ),
            click.option("--last", is_flag=True, help="The newest run of all."),
        ],
    )


_on_unknown = click.option(
    "--on-unknown",
    type=click.Choice(["verify", "retry", "skip"]),
    default="verify",
    show_default=True,
    help="For Spaces to which it was being sent when the command ended. verify: look"
    " at the Space, and send if it was not done; retry: send again without looking;"
    " skip: leave them.",
)


def _how_to_go_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that goes on with a run what it may still need."""
    return _on_unknown(with_secrets_of_run(with_bulk_of_run(pass_app(function))))


@section.command(
    "runs",
    "spaces-async runs",
    "spaces-async runs --json",
    "spaces-async runs 20260831T220000Z-pause",
    "spaces-async runs redis://host:6379/1/nightly",
)
@click.argument(
    "which",
    metavar="[RUN|FILE|URL]",
    required=False,
    shell_complete=_completion.runs,
)
@pass_app
def runs(app: App, which: str | None) -> int:
    """List what bulk commands have done, the newest first.

    With one run, or the URL of one that many hosts work on: how far it is, and which
    Spaces failed, are unknown or were not attempted, and why. A terminal shortens long
    lists; -v and --json have all.

    Each command that writes keeps a journal by itself, which `resume`, `retry-failed`
    and `undo` take by its name, or by as much of it as only one has: at most 100, for 90
    days. Of a run with --store there is a note of its URL. In a pipe: name, time, state, org, done, skipped, failed, unknown, left, what;
    below one run its Spaces: id, outcome, why.
    """
    if which is None:
        from spaces_async.cli._run_list import show_runs

        return show_runs(app.output)
    from spaces_async.cli._runs import find_any_run

    run = find_any_run(which, last=False)
    if isinstance(run, str):
        from spaces_async.cli._store import show_run

        return show_run(app, run)
    from spaces_async.cli._run_report import show_local_run

    return show_local_run(app, run)


@section.command(
    "resume",
    "spaces-async resume --last",
    "spaces-async resume restart.jsonl",
    "spaces-async resume keys.jsonl --from-env API_KEY",
    "spaces-async resume restart.jsonl --on-unknown retry",
    kind=JournalSecretCommand,
)
@_with_run
@_how_to_go_on
def resume(
    app: App,
    /,
    *,
    run: Run,
    arguments: BulkArguments,
    on_unknown: OnUnknown,
    secrets: GivenSecrets,
) -> int:
    """Continue a command that was interrupted.

    What is done is not done again, what failed is tried again, and what was never sent
    is sent, in the waves and with the checks of the command unless you give others. The
    journal holds the command and its Spaces, but not the values of secrets: give these
    again. Only a deletion asks.
    """
    from spaces_async.cli._run_again import resume_run

    return resume_run(app, run, arguments, on_unknown, secrets)


@section.command(
    "retry-failed",
    "spaces-async retry-failed --last",
    "spaces-async retry-failed restart.jsonl",
    "spaces-async retry-failed redis://host:6379/1/nightly",
    kind=JournalSecretCommand,
)
@_names_run
@_how_to_go_on
def retry_failed(
    app: App,
    /,
    *,
    file: str | None,
    last: bool,
    arguments: BulkArguments,
    on_unknown: OnUnknown,
    secrets: GivenSecrets,
) -> int:
    """Try again what failed or is unknown in a run.

    Nothing else is done: what its command had not begun is left to `resume`. Its waves
    and checks go on as there.

    A run that many hosts worked on is named by its URL when it is over. This is a run of
    its own then, on this host. Values of secrets that are not given come from the
    environment, by their names.
    """
    from spaces_async.cli._run_again import retry_run, retry_store
    from spaces_async.cli._runs import find_any_run

    run = find_any_run(file, last=last)
    if isinstance(run, str):
        return retry_store(app, run, arguments, on_unknown, secrets)
    return retry_run(app, run, arguments, on_unknown, secrets)


@section.command(
    "undo",
    "spaces-async undo --last --dry-run",
    "spaces-async undo night.jsonl --yes",
    "spaces-async undo redis://host:6379/1/nightly",
    kind=Command,
)
@_names_run
@with_bulk_of_run
@pass_app
def undo(app: App, file: str | None, arguments: BulkArguments, *, last: bool) -> int:
    """Bring back what a run has changed, and nothing else.

    A run that many hosts worked on is named by its URL. It shows the plan and asks. What somebody has changed since is left as it is, and
    what cannot be brought back (a restart, a secret, a deletion, sleep) is named with
    the reason. The undo is a run of its own.
    """
    from spaces_async.cli._run_again import undo_run, undo_store
    from spaces_async.cli._runs import find_any_run

    run = find_any_run(file, last=last)
    if isinstance(run, str):
        return undo_store(app, run, arguments)
    return undo_run(app, run, arguments)


@section.command(
    "work",
    "spaces-async work redis://host:6379/1/nightly",
    "spaces-async work --last --concurrency 4",
)
@_with_store
@with_work
@pass_app
def work(
    app: App,
    /,
    *,
    store: str,
    concurrency: int,
    deadline: float | None,
    max_outage: float | None,
    report: tuple[Path, ...],
) -> int:
    """Work on a run that another host has begun.

    The command there has --store with the same URL; a run that is not there yet is waited
    for, 30 s. One that this host knows has a name in `spaces-async runs`. What a lost host
    has left is taken over. Values of secrets come from the environment, by their names: a
    store never has them. It ends when the run does, and tells what this host has done.
    """
    from spaces_async.cli._store import work_on_run

    return work_on_run(
        app,
        store,
        concurrency=concurrency,
        deadline=deadline,
        max_outage=max_outage,
        reports=report,
    )


@section.command("cancel", "spaces-async cancel redis://host:6379/1/nightly")
@_with_store
@pass_app
def cancel(app: App, /, *, store: str) -> int:
    """End a run early, on all hosts.

    What is in flight is finished, and nothing more is begun. It cannot be continued; its
    report says what was not attempted.
    """
    from spaces_async.cli._store import cancel_run

    return cancel_run(app, store)
