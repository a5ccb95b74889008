"""Runs that many hosts work on: `work`, `runs URL` and `cancel`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from spaces_async.bulk._bulk import WorkOptions, work_stream
from spaces_async.bulk._store.url import place_of
from spaces_async.bulk.report import OutcomeStatus, StopReason
from spaces_async.cli._bulk import drain
from spaces_async.cli._errors import FAILED, code_of_report
from spaces_async.cli._output import plural
from spaces_async.cli._progress import ProgressDisplay
from spaces_async.cli._report import show
from spaces_async.cli._report_file import write_reports
from spaces_async.cli._text import clean
from spaces_async.cli._wording import title
from spaces_async.client import session_of
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spaces_async.bulk import BulkReport, RunState
    from spaces_async.cli._app import App
    from spaces_async.client import SpacesClient

__all__ = ["advise", "cancel_run", "show_run", "work_on_run"]

_RUN_ENDS: Final = frozenset(
    {
        StopReason.FAIL_FAST,
        StopReason.MAX_FAILURES,
        StopReason.UNHEALTHY,
        StopReason.ABORTED,
    }
)
"""What ends a run on all hosts."""


def work_on_run(
    app: App,
    store: str,
    *,
    concurrency: int,
    deadline: float | None,
    max_outage: float | None,
    reports: Sequence[Path],
) -> int:
    """Work on a run until it is over, and return the exit code."""
    app.concurrency = concurrency
    found: BulkReport[Any] | None = None
    finished = False

    async def work(client: SpacesClient) -> None:
        nonlocal found
        await app.require_token(session_of(client))
        options = WorkOptions(
            concurrency=concurrency,
            deadline=deadline,
            max_outage=max_outage,
            max_rate_limit_wait=app.max_wait,
        )
        stream, left = await work_stream(client.bulk, store, options)
        found = stream.report
        with ProgressDisplay(app, title(found.operation), left) as display:
            await drain(app, stream, display)

    try:
        app.run(work)
        finished = True
    finally:
        # Also after an interrupt, so that what was done until then is not lost.
        if found is not None and (finished or len(found)):
            show(app.output, found, rows=app.verbose > 0)
            write_reports(app, found, reports)
    code = 0 if found is None else code_of_report(found)
    return code or (FAILED if app.report_is_missing else 0)


def advise(app: App, store: str, report: BulkReport[Any], *, interrupted: bool) -> None:
    """Say how to go on with a run that is not finished.

    Args:
        app: The command.
        store: The URL of the run.
        report: What this host has done.
        interrupted: Whether Ctrl-C or SIGTERM ended the command.
    """
    left = report.counts[OutcomeStatus.NOT_ATTEMPTED]
    if not left:
        return
    if _is_over(app, store, report.stopped_by, interrupted=interrupted):
        app.output.say(
            f"The run is over on all hosts. For the {plural(left)} left begin one with"
            " another name."
        )
        return
    shown, how = place_of(store).shown, "To work on it again, unless it is over:"
    if shown == store:
        app.output.advise(how, f"spaces-async work {shlex.quote(shown)}")
    else:
        # What is shown lacks the password, so a command with it would not work.
        app.output.say(
            f"{how} spaces-async work, with the URL that you gave to --store."
        )


def _is_over(
    app: App, store: str, reason: StopReason | None, *, interrupted: bool
) -> bool:
    """Return whether a run that this host has left is known to be over on all hosts."""
    if reason is StopReason.CANCELLED:
        # Either this command was, or the run.
        return not interrupted
    if reason is not StopReason.OUTAGE:
        return reason in _RUN_ENDS
    try:
        # An outage ends the run only if no other host works on it.
        return app.run(lambda client: client.bulk.get_run(store)).is_over
    except SpacesError:
        return False


def show_run(app: App, store: str) -> int:
    """Show how far a run is, and return the exit code."""

    async def read(client: SpacesClient) -> RunState:
        return await client.bulk.get_run(store)

    return _show(app, app.run(read))


def cancel_run(app: App, store: str) -> int:
    """End a run on all hosts, and return the exit code."""

    async def cancel(client: SpacesClient) -> RunState:
        return await client.bulk.cancel(store)

    return _show(app, app.run(cancel))


def _show(app: App, state: RunState) -> int:
    output = app.output
    if output.json:
        output.document(state.to_dict())
        return 0
    counts = state.counts
    bad = counts[OutcomeStatus.FAILED] + counts[OutcomeStatus.UNKNOWN]
    word = "finished" if state.finished >= state.total else "running"
    if state.stopped_by is not None:
        word = str(state.stopped_by).replace("_", " ")
    output.rows(
        ("run", "state", "done", "failed", "left", "hosts", "what"),
        [
            (
                clean(state.store),
                Text(word, style="green" if word == "running" else ""),
                str(state.finished - bad),
                str(bad),
                str(state.total - state.finished),
                str(len(state.hosts)),
                clean(state.operation),
            )
        ],
    )
    return 0
