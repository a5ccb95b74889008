"""What became of a bulk: its rows on stdout, its summary and advice on stderr."""

from __future__ import annotations

import shlex
from typing import Any, Final

from attrs import evolve
from rich.text import Text

from spaces_async.bulk import BulkReport, Outcome, OutcomeStatus
from spaces_async.bulk.report import ReportBuilder
from spaces_async.cli._errors import hints_for, reason
from spaces_async.cli._output import Output, stage_style
from spaces_async.errors import SpaceFailedError
from spaces_async.models import SpaceStage

__all__ = ["merged", "show"]

_TROUBLES: Final = (OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN)
_MANY: Final = 40
"""More rows than this are not shown on a terminal if nothing went wrong in them."""


def merged(
    written: BulkReport[Any] | None, waited: BulkReport[Any] | None
) -> BulkReport[Any] | None:
    """Join what became of the write and of the wait after it, one outcome for each."""
    if written is None or waited is None:
        # `or` would take an empty report for none.
        return waited if written is None else written
    later = {outcome.repo_id: outcome for outcome in waited}
    builder: ReportBuilder[Any] = ReportBuilder(f"{written.operation} and wait")
    builder.report.stopped_by = written.stopped_by or waited.stopped_by
    builder.report.elapsed = written.elapsed + waited.elapsed
    for outcome in written:
        builder.claim(outcome.repo_id)
        builder.add(_joined(outcome, later.get(outcome.repo_id)))
    return builder.report


def _joined(first: Outcome[Any], then: Outcome[Any] | None) -> Outcome[Any]:
    # A wait that never began takes nothing from what was done.
    if then is None or then.status is OutcomeStatus.NOT_ATTEMPTED:
        return first
    return evolve(
        then,
        attempts=first.attempts + then.attempts,
        elapsed=first.elapsed + then.elapsed,
        waited=first.waited + then.waited,
    )


def show(output: Output, report: BulkReport[Any]) -> None:
    """Write the outcomes to stdout, and a summary with advice to stderr."""
    if output.json:
        output.document(report.to_dict())
    else:
        shown = report.outcomes
        if output.table_out and len(shown) > _MANY:
            shown = [outcome for outcome in shown if outcome.status in _TROUBLES]
        rows = [(o.repo_id, outcome_text(o), detail_text(o)) for o in shown]
        if rows:
            output.rows(["Space", "outcome", "detail"], rows)
    style = "green" if report.ok else "red"
    name = report.operation.replace("_", " ").capitalize()
    counts = report.summary().removeprefix(report.operation)
    output.say(f"{name}{counts} in {report.elapsed:.1f} s", style=style)
    for hint in hints_for(o.error for o in (*report.failed, *report.unknown)):
        output.say(hint)
    if where := _where_it_says_why(report):
        output.say(f"See why: {where}")
    if report.unknown:
        ids = shlex.join(o.repo_id for o in report.unknown)
        output.say(
            "Whether the unknown ones were done, nobody can say; look at them:"
            f" spaces-async status {ids}"
        )


def _where_it_says_why(report: BulkReport[Any]) -> str | None:
    """Return the command that shows the log of the first Space that went wrong."""
    for outcome in report.failed:
        error = outcome.error
        if isinstance(error, SpaceFailedError) and error.runtime is not None:
            build = " --build" if error.runtime.stage is SpaceStage.BUILD_ERROR else ""
            if build or error.runtime.stage is SpaceStage.RUNTIME_ERROR:
                return f"spaces-async logs {outcome.repo_id}{build} -n 20"
    return None


def outcome_text(outcome: Outcome[Any]) -> Text:
    """Return the status of an outcome in its colour."""
    word = str(outcome.status).replace("_", " ")
    if outcome.ok:
        return Text(word, style="green")
    return Text(word, style="red" if outcome.status in _TROUBLES else "yellow")


def detail_text(outcome: Outcome[Any]) -> Text:
    """Return the stage that a Space is in now, or why it failed."""
    if outcome.status is OutcomeStatus.SKIPPED and outcome.reason:
        return Text(outcome.reason, style="dim")
    if outcome.error is not None:
        return Text(reason(outcome.error))
    if outcome.from_journal:
        return Text("before", style="dim")
    if outcome.status is OutcomeStatus.UNCHANGED and outcome.reason:
        return Text(outcome.reason, style="dim")
    stage: SpaceStage | None = getattr(outcome.value, "stage", None)
    return Text("") if stage is None else Text(stage, style=stage_style(stage))
