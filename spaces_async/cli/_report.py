"""The outcomes of a bulk: rows on stdout, a summary and advice on stderr."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import evolve
from rich.text import Text

from spaces_async.bulk import BulkReport, Operation, Outcome, OutcomeStatus
from spaces_async.bulk.report import TROUBLES, ReportBuilder, StopReason
from spaces_async.cli._errors import hints_for, in_shell_words, reason
from spaces_async.cli._output import Output, plural, stage_style
from spaces_async.cli._text import clean
from spaces_async.cli._wording import title
from spaces_async.errors import SpaceFailedError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from spaces_async.records import KeyOutcome

__all__ = ["deletes_keys", "keys_not_found", "merged", "show", "stays_idle"]

_SHOWN_ROWS: Final = 40
"""Where there are more, a terminal shows only the failed and unknown ones."""


_EXPLAINED: Final = (OutcomeStatus.SKIPPED, OutcomeStatus.UNCHANGED)
"""Their `reason` is the detail: "static", "already so"."""


_DELETIONS: Final = frozenset(
    f"delete_{what}" for what in ("secret", "secrets", "variable", "variables")
)


_ONLY_REQUESTED: Final = "requested; whether it runs is not known"
"""The detail of a Space whose wait ended early."""


def merged(
    written: BulkReport[Any] | None, waited: BulkReport[Any] | None
) -> BulkReport[Any] | None:
    """Merge the reports of a write and of the wait after it."""
    if written is None or waited is None:
        # Not `or`: an empty report is false.
        return waited if written is None else written
    later = {outcome.repo_id: outcome for outcome in waited}
    builder: ReportBuilder[Any] = ReportBuilder(f"{written.operation} and wait")
    builder.report.stopped_by = written.stopped_by or waited.stopped_by
    builder.report.elapsed = written.elapsed + waited.elapsed
    for outcome in written:
        builder.claim(outcome.repo_id)
        builder.add(_merged(outcome, later.get(outcome.repo_id)))
    return builder.report


def stays_idle(runtime: object) -> bool:
    """Return whether a Space is paused or asleep, so that there is nothing to wait for."""
    return isinstance(runtime, SpaceRuntime) and runtime.stage.is_idle


def _merged(first: Outcome[Any], then: Outcome[Any] | None) -> Outcome[Any]:
    if not first.ok or (then is None and stays_idle(first.value)):
        return first
    if then is None or then.status is OutcomeStatus.NOT_ATTEMPTED:
        # The wait ended early, and the write alone is not what was asked for.
        return evolve(first, status=OutcomeStatus.UNKNOWN, reason=_ONLY_REQUESTED)
    return evolve(
        then,
        attempts=first.attempts + then.attempts,
        elapsed=first.elapsed + then.elapsed,
        waited=first.waited + then.waited,
    )


def show(output: Output, report: BulkReport[Any]) -> None:
    """Write the outcomes to stdout, and a summary with advice to stderr."""
    if output.json:
        output.document(_as_json(report))
    else:
        shown = report.outcomes
        if output.table_out and len(shown) > _SHOWN_ROWS:
            shown = [outcome for outcome in shown if outcome.status in TROUBLES]
        rows = [(o.repo_id, outcome_text(o), detail_text(o)) for o in shown]
        if rows:
            output.rows(["Space", "outcome", "detail"], rows)
    style = "green" if report.ok else "red"
    counts = report.summary().removeprefix(report.operation)
    text = f"{title(report.operation)}{counts} in {report.elapsed:.1f} s"
    output.say(text, style=style)
    for hint in hints_for(o.error for o in (*report.failed, *report.unknown)):
        output.say(hint)
    if command := _log_command(report):
        output.advise("To see why:", command)
    if requested := [o for o in report.unknown if o.reason == _ONLY_REQUESTED]:
        output.advise(
            f"{plural(len(requested))}: the request was accepted, and the wait ended"
            " before it was known whether they run. Look at them:",
            f"spaces-async status {shlex.join(o.repo_id for o in requested)}",
        )
    elif report.unknown:
        ids = shlex.join(o.repo_id for o in report.unknown)
        output.advise(
            "The unknown ones were sent, but it is not known whether they were done."
            " Look at them:",
            f"spaces-async status {ids}",
        )


def deletes_keys(operation: Operation[Any]) -> bool:
    """Return whether an operation deletes variables or secrets."""
    return operation.name in _DELETIONS


def keys_not_found(operation: Operation[Any], report: BulkReport[Any]) -> list[str]:
    """Return the keys that were to be deleted and that no Space had: likely slips."""
    if not deletes_keys(operation) or not len(report) or not report.ok:
        return []
    parameters = operation.parameters or {}
    sought: list[str] = parameters.get("keys") or [parameters["key"]]
    found: set[str] = set()
    for outcome in report:
        if outcome.from_journal:
            return []
        value: Any = outcome.value
        if isinstance(value, list):
            keys = cast("list[KeyOutcome]", value)
            found |= {key.key for key in keys if key.status == "done"}
        elif outcome.status is OutcomeStatus.DONE:
            found.update(sought)
    return [key for key in sought if key not in found]


def _log_command(report: BulkReport[Any]) -> str | None:
    """Return the command that shows the log of the first Space that failed."""
    for outcome in report.failed:
        error = outcome.error
        if isinstance(error, SpaceFailedError) and error.runtime is not None:
            build = " --build" if error.runtime.stage is SpaceStage.BUILD_ERROR else ""
            if build or error.runtime.stage is SpaceStage.RUNTIME_ERROR:
                return f"spaces-async logs {outcome.repo_id}{build} -n 20"
    return None


def _as_json(report: BulkReport[Any]) -> dict[str, Any]:
    document = report.to_dict()
    for outcome in document["outcomes"]:
        if outcome["error"] is not None:
            outcome["error"] = in_shell_words(outcome["error"])
    return document


def outcome_text(outcome: Outcome[Any]) -> Text:
    """Return the status of an outcome in its colour."""
    word = str(outcome.status).replace("_", " ")
    if outcome.ok:
        return Text(word, style="green")
    return Text(word, style="red" if outcome.status in TROUBLES else "yellow")


def detail_text(outcome: Outcome[Any]) -> Text:
    """Return the stage of a Space afterwards, or why it is not done."""
    left_out = outcome.status is OutcomeStatus.NOT_ATTEMPTED and (
        outcome.reason not in {str(stop) for stop in StopReason}
    )
    explained = outcome.status in _EXPLAINED or outcome.reason == _ONLY_REQUESTED
    if outcome.reason and (left_out or explained):
        return Text(outcome.reason, style="dim")
    if outcome.error is not None:
        return Text(reason(outcome.error))
    if outcome.from_journal:
        return Text("by an earlier run", style="dim")
    stage: SpaceStage | None = getattr(outcome.value, "stage", None)
    shown = Text("") if stage is None else Text(stage, style=stage_style(stage))
    if outcome.new_id is None:
        return shown
    now = Text(clean(f"now {outcome.new_id}"), style="dim")
    return Text(", ").join(part for part in (shown, now) if part)
