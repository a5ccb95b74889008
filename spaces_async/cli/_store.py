"""Runs that many hosts work on: `work`, `runs URL` and `cancel`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from spaces_async.bulk._bulk import WorkOptions, read_run, work_stream
from spaces_async.bulk._engine import joining
from spaces_async.bulk._engine.header import job_header
from spaces_async.bulk._store.job import digest_of
from spaces_async.bulk._store.protocol import StoreAwayError
from spaces_async.bulk._store.url import make_store, place_of
from spaces_async.bulk.report import TROUBLES, OutcomeStatus, StopReason
from spaces_async.cli._bulk import drain
from spaces_async.cli._errors import FAILED, code_of_report, full_text
from spaces_async.cli._output import human_seconds, plural
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
from spaces_async.errors import JournalError, SpacesError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spaces_async.bulk import BulkReport, Operation, RunState
    from spaces_async.bulk._store.job import Job
    from spaces_async.bulk._store.protocol import Counts
    from spaces_async.cli._app import App
    from spaces_async.client import SpacesClient

__all__ = ["about_run", "advise", "cancel_run", "show_run", "work_on_run"]

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
        await _say_if_missing(app, client, store)
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


async def _find(client: SpacesClient, where: str) -> tuple[Job, Counts] | None:
    """Return what a run does, and how far it is; None if it is not there.

    Raises:
        StoreAwayError: The store does not answer now.
        JournalError: It cannot be used.
    """
    async with aclosing(make_store(where, session_of(client).clock)) as store:
        job = await store.find()
        return None if job is None else (job, store.counts)


async def _say_if_missing(app: App, client: SpacesClient, store: str) -> None:
    """Say that a run is waited for, as it is not there yet."""
    try:
        if await _find(client, store) is not None:
            return
        why = "it is not there yet"
    except StoreAwayError as error:
        why = f"its store does not answer ({error})"
    most = human_seconds(joining.FOUND_SECONDS)
    shown = place_of(store).shown
    app.output.say(f"Waiting up to {most} for the run {shown}: {why}.")


async def about_run(
    client: SpacesClient, where: str, operation: Operation[Any], ids: Sequence[str]
) -> str | None:
    """Return what a command would do about a run that is there already.

    Args:
        client: Of the Hub.
        where: The URL of the run.
        operation: What the command does.
        ids: To which Spaces.

    Returns:
        It in a line; None if there is no run of that name.
    """
    shown = place_of(where).shown
    try:
        found = await _find(client, where)
    except (StoreAwayError, JournalError) as error:
        return f"It is not known whether there is a run {shown} already: {full_text(error)}."
    if found is None:
        return None
    job, counts = found
    spaces = f"{counts.finished} of {plural(counts.total)} finished"
    text = (
        f"There is a run {shown} already: {title(job.header.operation)}, {spaces}."
        " Without --dry-run"
    )
    header = job_header(operation, session_of(client))
    if not header.is_same_job(job.header):
        return f"{text} this command is refused, for that run is of another command."
    if digest_of(dict.fromkeys(ids)) != job.digest:
        return f"{text} this command is refused, for that run has other Spaces."
    if counts.is_over:
        return f"{text} nothing is sent, for that run is over."
    return f"{text} this command works on that run, if its options are the same."


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
    _advise(app, store, state, report)
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
    elif left and not _is_gone(app, store, report.stopped_by):
        advise_command(app, "To work on it again, unless it is over:", "work", store)


def _is_gone(app: App, store: str, reason: StopReason | None) -> bool:
    """Return whether the store answers and does not know the run any more."""
    if reason is not StopReason.STORE:
        return False
    try:
        return app.run(lambda client: _find(client, store)) is None
    except (StoreAwayError, SpacesError):
        return False


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
    _advise(app, store, state, report)
    return 0


def _read(app: App, store: str) -> tuple[RunState, BulkReport[Any]]:
    """Read how far a run is, and make a report of it."""
    state, results = app.run(lambda client: read_run(client.bulk, store))
    report = report_of(state.operation, results, is_over=state.is_over)
    report.stopped_by = state.stopped_by
    return state, report


def _is_waiting(state: RunState) -> bool:
    """Return whether no host works on a run. Of a file that is not known."""
    is_file = state.store.startswith("file:")
    return not (state.is_over or state.hosts or is_file)


def _advise(app: App, store: str, state: RunState, report: BulkReport[Any]) -> None:
    if _is_waiting(state):
        advise_command(app, "No host works on it now. To go on with it:", "work", store)
    if state.is_over:
        left = report.counts[OutcomeStatus.NOT_ATTEMPTED]
        advise_about_run(app, store, report.counts, left=left)


def cancel_run(app: App, store: str) -> int:
    """End a run on all hosts, and return the exit code."""
    was_over = False

    async def cancel(client: SpacesClient) -> None:
        nonlocal was_over
        before = await client.bulk.get_run(store)
        after = before if before.is_over else await client.bulk.cancel(store)
        was_over = before.is_over or after.stopped_by is not StopReason.CANCELLED

    app.run(cancel)
    state, report = _read(app, store)
    if app.output.json:
        app.output.document(state.to_dict())
    else:
        _show(app, state, report)
    if was_over:
        app.output.say(f"This run was over already: {counts_of(report)}.")
    return 0


def _show(app: App, state: RunState, report: BulkReport[Any]) -> None:
    counts = report.counts
    word = "finished" if state.is_over else "running"
    if _is_waiting(state):
        word = "waiting"
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
