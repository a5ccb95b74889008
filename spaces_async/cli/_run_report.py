"""What one run has done, and which Spaces of it are not done: `runs RUN`, `runs URL`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from spaces_async.bulk import BulkReport, Outcome, OutcomeStatus
from spaces_async.bulk._engine.shared_run import SharedHistory, outcome_of
from spaces_async.bulk._store.protocol import Result
from spaces_async.bulk._store.url import place_of
from spaces_async.bulk.report import ReportBuilder
from spaces_async.cli._journal import about_doubts, secret_options
from spaces_async.cli._output import plural
from spaces_async.cli._report import as_json, outcome_rows, show_causes, shows_all
from spaces_async.cli._run_list import TITLES, row_of
from spaces_async.cli._runs import as_json as run_as_json
from spaces_async.cli._runs import own_name, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spaces_async.cli._app import App
    from spaces_async.cli._output import Output
    from spaces_async.cli._runs import Run

__all__ = [
    "advise_about_run",
    "advise_command",
    "counts_of",
    "document_of",
    "report_of",
    "show_head",
    "show_local_run",
    "show_not_done",
]

_INTERRUPTED: Final = "before the run was interrupted"


def report_of(
    operation: str,
    results: Iterable[Result],
    *,
    is_over: bool,
    sent_by: str = SharedHistory.sent_by,
) -> BulkReport[Any]:
    """Return the report of a run; of the outcomes it has those that are not done.

    Args:
        operation: What the run does.
        results: What is known of its Spaces.
        is_over: Whether no host works on it: what was announced and has no outcome is
            unknown then, and the rest not attempted. Else these Spaces are left out.
        sent_by: Who may have sent what is unknown.
    """
    builder = ReportBuilder[Any](operation, keep="failures")
    for result in results:
        if result.entry.status is None and not is_over:
            continue
        known = outcome_of(result, sent_by)
        if known is None:
            known = Outcome[Any](result.repo_id, OutcomeStatus.NOT_ATTEMPTED)
        builder.claim(result.repo_id)
        # They are of this run, and not of an earlier one.
        builder.add(evolve(known, from_journal=False))
    return builder.report


def counts_of(report: BulkReport[Any]) -> str:
    """Return the counts of a report: "104 done, 6 skipped, 10 unknown"."""
    return report.summary().removeprefix(f"{report.operation}: ")


def document_of(report: BulkReport[Any]) -> dict[str, Any]:
    """Return what JSON has of a run besides its counts: all that is not done."""
    return {"not_done": as_json(report)["outcomes"]}


def show_not_done(app: App, report: BulkReport[Any]) -> None:
    """Write which Spaces are not done, and why.

    A terminal gets them by their cause, and of many the first ones; a pipe, and -v, a
    row for each.
    """
    output = app.output
    if app.verbose or not output.table_out:
        output.rows(*outcome_rows(report), whole=True)
        return
    show_causes(output, report)
    if not shows_all(report):
        output.say("To see all of them, add -v to this command.")


def show_local_run(app: App, run: Run) -> int:
    """Show what a run of this host has done, and return the exit code."""
    output, found = app.output, run.read()
    state = found.state
    report = report_of(
        found.header.operation,
        (Result(i, e, state.told.get(i, {})) for i, e in state.entries.items()),
        is_over=not found.runs,
        sent_by=_INTERRUPTED,
    )
    if output.json:
        output.document(run_as_json(run, found) | document_of(report))
        return 0
    show_head(output, TITLES, row_of(run, found))
    name = shlex.quote(own_name(run) or shown_path(run))
    show_not_done(app, report)
    if found.word == "running" or report.ok:
        return 0
    command = "retry-failed" if found.state.finished else "resume"
    what = "try them again" if found.state.finished else "go on with it"
    values = secret_options(found.header)
    output.advise(f"To {what}:", f"spaces-async {command} {name}{values}")
    if doubts := report.counts[OutcomeStatus.UNKNOWN]:
        output.say(about_doubts(doubts, command))
    return 0


def show_head(output: Output, titles: Sequence[str], row: Sequence[Any]) -> None:
    """Write what there is to say of a run as a whole: a line each, or a row in a pipe."""
    if not output.table_out:
        output.rows(titles, [row])
        return
    output.details(
        (title, cell)
        for title, cell in zip(titles, row, strict=True)
        if str(cell) not in {"", "0"} or title == "done"
    )


def advise_about_run(
    app: App, store: str, counts: Mapping[OutcomeStatus, int], *, left: int
) -> None:
    """Say what to do about a run in a store that is over, but not done.

    Args:
        app: The command.
        store: Its URL.
        counts: How many of its Spaces ended how.
        left: How many were not attempted.
    """
    troubled = counts[OutcomeStatus.FAILED] + counts[OutcomeStatus.UNKNOWN]
    if troubled:
        advise_command(app, f"To try the {troubled} again:", "retry-failed", store)
    if doubts := counts[OutcomeStatus.UNKNOWN]:
        app.output.say(about_doubts(doubts, "retry-failed"))
    if left:
        app.output.say(
            f"The run is over on all hosts. For the {plural(left)} left begin one with"
            " another name."
        )


def advise_command(app: App, text: str, command: str, store: str) -> None:
    """Name a command with the URL of a run; one with a password is not shown."""
    shown = place_of(store).shown
    if shown == store:
        app.output.advise(text, f"spaces-async {command} {shlex.quote(shown)}")
    else:
        # What is shown lacks the password, so a command with it would not work.
        app.output.say(f"{text} spaces-async {command}, with the URL that you gave.")
