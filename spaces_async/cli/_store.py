"""Runs that many hosts work on: `work`, `runs URL` and `cancel`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from spaces_async.bulk._bulk import WorkOptions, read_run, work_stream
from spaces_async.bulk.report import TROUBLES, OutcomeStatus, StopReason
from spaces_async.cli._bulk import drain
from spaces_async.cli._errors import FAILED, code_of_report
from spaces_async.cli._progress import ProgressDisplay
from spaces_async.cli._report import show
from spaces_async.cli._report_file import write_reports
from spaces_async.cli._run_report import (
    advise_about_run,
    advise_command,
    counts_of,
    document_of,
    report_of,
    show_head,
    show_not_done,
)
from spaces_async.cli._runs import COUNTED, note_store
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
        name = found.operation

        async def note() -> None:
            if left:
                await asyncio.to_thread(note_store, store, name, [])

        with ProgressDisplay(app, title(name), left) as display:
            await drain(app, stream, display, note)

    try:
        app.run(work)
        finished = True
    finally:
        # Also after an interrupt, so that what was done until then is not lost.
        if found is not None and (finished or len(found)):
            # Where there was nothing to do, `_end_of_work` says why.
            if len(found) or app.output.json:
                show(app.output, found, rows=True if app.verbose else None)
            write_reports(app, found, reports)
    code = 0 if found is None else _end_of_work(app, store, found)
    return code or (FAILED if app.report_is_missing else 0)


def _end_of_work(app: App, store: str, found: BulkReport[Any]) -> int:
    """Say what to do about the rest of a run, and return the exit code.

    Args:
        app: The command.
        store: The URL of the run.
        found: What this host has done.
    """
    if len(found):
        if found.stopped_by is None:
            advise_about_run(app, store, found.counts, left=0)
        return code_of_report(found)
    state, report = _read(app, store)
    if not state.is_over:
        app.output.say("Nothing was left for this host.")
        return code_of_report(found)
    app.output.say(f"This run is over: {counts_of(report)}.")
    _advise_if_over(app, store, state, report)
    return code_of_report(report)


def advise(app: App, store: str, report: BulkReport[Any], *, interrupted: bool) -> None:
    """Say how to go on with a run that is not finished.

    Args:
        app: The command.
        store: The URL of the run.
        report: What this host has done.
        interrupted: Whether Ctrl-C or SIGTERM ended the command.
    """
    left = report.counts[OutcomeStatus.NOT_ATTEMPTED]
    is_over = not left and report.stopped_by is None
    if is_over or _is_over(app, store, report.stopped_by, interrupted=interrupted):
        advise_about_run(app, store, report.counts, left=left)
    elif left:
        advise_command(app, "To work on it again, unless it is over:", "work", store)


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
    """Show how far a run is and what is not done, and return the exit code."""
    state, report = _read(app, store)
    if app.output.json:
        app.output.document(state.to_dict() | document_of(report))
        return 0
    _show(app, state, report)
    show_not_done(app, report)
    _advise_if_over(app, store, state, report)
    return 0


def _read(app: App, store: str) -> tuple[RunState, BulkReport[Any]]:
    """Read how far a run is, and make a report of it."""
    state, results = app.run(lambda client: read_run(client.bulk, store))
    report = report_of(state.operation, results, is_over=state.is_over)
    report.stopped_by = state.stopped_by
    return state, report


def _advise_if_over(
    app: App, store: str, state: RunState, report: BulkReport[Any]
) -> None:
    if state.is_over:
        left = report.counts[OutcomeStatus.NOT_ATTEMPTED]
        advise_about_run(app, store, report.counts, left=left)


def cancel_run(app: App, store: str) -> int:
    """End a run on all hosts, and return the exit code."""
    state = app.run(lambda client: client.bulk.cancel(store))
    if app.output.json:
        app.output.document(state.to_dict())
    else:
        _show(app, *_read(app, store))
    return 0


def _show(app: App, state: RunState, report: BulkReport[Any]) -> None:
    counts = report.counts
    word = "finished" if state.finished >= state.total else "running"
    if state.stopped_by is not None:
        word = str(state.stopped_by).replace("_", " ")
    ended = {
        "done": counts[OutcomeStatus.DONE] + counts[OutcomeStatus.UNCHANGED],
        **{str(s): counts[s] for s in (OutcomeStatus.SKIPPED, *TROUBLES)},
    }
    ended["left"] = state.total - sum(ended.values())
    show_head(
        app.output,
        ("run", "state", *COUNTED, "hosts", "what"),
        (
            clean(state.store),
            Text(word, style="green" if word == "running" else ""),
            *(str(ended[name]) for name in COUNTED),
            str(len(state.hosts)),
            clean(title(state.operation)),
        ),
    )
