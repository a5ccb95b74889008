"""`resume`, `retry-failed` and `undo`: what is done about an earlier run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import evolve

from spaces_async.bulk._bulk import ended_run, failed_in
from spaces_async.bulk._engine.undo import SO_BEFORE
from spaces_async.bulk._journal.reader import read_state
from spaces_async.bulk._journal.writer import check_free
from spaces_async.cli._bulk import BulkCommand, show_nothing
from spaces_async.cli._errors import FAILED
from spaces_async.cli._journal import described_state, rebuild
from spaces_async.cli._output import plural
from spaces_async.cli._runs import own_name, shown_path
from spaces_async.cli._targets import Targets
from spaces_async.cli._wording import described

if TYPE_CHECKING:
    from spaces_async.bulk import Plan
    from spaces_async.bulk._engine.context import OnUnknown
    from spaces_async.bulk._engine.resolver import Listed
    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._runs import Run
    from spaces_async.cli._values import GivenSecrets
    from spaces_async.client import SpacesClient

__all__ = ["resume_run", "retry_run", "retry_store", "undo_run", "undo_store"]


def resume_run(
    app: App,
    run: Run,
    arguments: BulkArguments,
    on_unknown: OnUnknown,
    secrets: GivenSecrets,
) -> int:
    """Continue a run, and return the exit code."""
    path = shown_path(run)
    check_free(path)
    header, state = read_state(path)
    if not state.complete:
        raise click.UsageError(
            f"{path} does not name all Spaces: the command, or program, ended before it"
            " knew them. Start it again with the same file."
        )
    command = BulkCommand(
        app,
        rebuild(path, header, secrets),
        Targets(ids=tuple(state.entries), are_typed=True),
        evolve(arguments.going_on(path, header), journal=path),
        on_unknown=on_unknown,
        resumes=True,
        run_name=own_name(run),
    )
    return command.run()


def retry_run(
    app: App,
    run: Run,
    arguments: BulkArguments,
    on_unknown: OnUnknown,
    secrets: GivenSecrets,
) -> int:
    """Try again what failed in a run, and return the exit code."""
    path = shown_path(run)
    check_free(path)
    header, state = read_state(path)
    failed = failed_in(state.entries)
    if not failed:
        told = described_state(path, header, state, name=own_name(run))
        app.output.say(f"{told} Nothing has failed.")
        show_nothing(app, header.operation, arguments)
        return 0
    command = BulkCommand(
        app,
        rebuild(path, header, secrets),
        Targets(ids=tuple(failed), are_typed=True),
        evolve(arguments.going_on(path, header), journal=path),
        on_unknown=on_unknown,
        resumes=True,
        only=frozenset(failed),
        run_name=own_name(run),
    )
    return command.run()


def retry_store(
    app: App,
    where: str,
    arguments: BulkArguments,
    on_unknown: OnUnknown,
    secrets: GivenSecrets,
) -> int:
    """Try again what failed in a run in a store, and return the exit code.

    Args:
        app: The shell.
        where: The URL of the run, which has to be over.
        arguments: How.
        on_unknown: What to do about what is unknown.
        secrets: Values of secrets; what is missing is taken from the environment.
    """
    values = {**secrets.of_file, **secrets.values}
    run = app.run(lambda client: ended_run(client.bulk, where, values))
    count = plural(len(run.left))
    if not run.left:
        app.output.say(f"Run {run.shown}: nothing has failed.")
        show_nothing(app, run.header.operation, arguments)
        return 0
    what = described(run.header.operation, run.header.parameters)
    app.output.say(
        f"Run {run.shown}: {what}, {count} failed or unknown. It stays as it is: what"
        " follows is a run of its own."
    )
    command = BulkCommand(
        app,
        run.operation,
        Targets(ids=tuple(run.left), are_typed=True),
        arguments.going_on(run.shown, run.header),
        on_unknown=on_unknown,
        resumes=True,
        of_run=run,
    )
    return command.run()


def undo_run(app: App, run: Run, arguments: BulkArguments) -> int:
    """Bring back what a run has changed, and return the exit code."""
    path = shown_path(run)
    check_free(path)
    header, state = read_state(path)
    if header.parameters is None:
        raise click.UsageError(
            f"{path} is of {header.operation!r}, a function of a program: what undoes it"
            " is not known."
        )
    app.output.say(described_state(path, header, state, name=own_name(run)))
    return undo_store(app, path, arguments)


def undo_store(app: App, where: str, arguments: BulkArguments) -> int:
    """Bring back what a run in a store has changed, and return the exit code.

    Args:
        app: The shell.
        where: The URL of the run, or the file of a journal.
        arguments: How.
    """

    async def plan(
        client: SpacesClient, _: list[Listed], most: int | str | None
    ) -> Plan:
        return await client.bulk.plan_undo(where, max_targets=most)

    command = BulkCommand(app, None, Targets(), arguments, make_plan=plan)
    code = command.run()
    made = command.plan
    if made is None or made.changes or all(c.reason == SO_BEFORE for c in made.skipped):
        return code
    app.output.complain(
        "Nothing of that run can be brought back. To undo an earlier one, name it:"
        " `spaces-async runs` lists them."
    )
    return code or FAILED
