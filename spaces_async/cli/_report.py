"""The outcomes of a bulk: rows on stdout, a summary and advice on stderr."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import evolve
from rich.text import Text

from spaces_async.bulk import BulkReport, Operation, Outcome, OutcomeStatus
from spaces_async.bulk._engine.rollout import NOT_CHECKED
from spaces_async.bulk._journal.format import HEALTHY
from spaces_async.bulk.report import TROUBLES, ReportBuilder
from spaces_async.cli._causes import (
    KINDS_OF_KEYS,
    ONLY_REQUESTED,
    causes,
    detail,
    log_command,
    moved,
    success_lines,
    word,
)
from spaces_async.cli._errors import hints_for, in_shell_words
from spaces_async.cli._output import Output, plural, stage_style
from spaces_async.cli._report_waves import halt_text
from spaces_async.cli._runs import owners_of
from spaces_async.cli._text import clean
from spaces_async.cli._wording import title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async.models import SpaceStage
    from spaces_async.records import KeyOutcome

__all__ = [
    "as_json",
    "deletes_keys",
    "keys_not_found",
    "outcome_rows",
    "show",
    "show_causes",
    "shows_all",
    "waited_for",
]

_NAMED_SPACES: Final = 3
"""How many Spaces a command names that is proposed."""

_DELETIONS: Final = frozenset(f"delete_{what}" for what in KINDS_OF_KEYS)


def waited_for(report: BulkReport[Any]) -> BulkReport[Any]:
    """Return the report of a write as one of a write and of the wait after it."""
    builder: ReportBuilder[Any] = ReportBuilder(f"{report.operation} and wait")
    builder.report.stopped_by = report.stopped_by
    builder.report.elapsed = report.elapsed
    builder.waves += report.waves
    for outcome in report:
        builder.claim(outcome.repo_id)
        builder.add(_waited_for(outcome))
    return builder.report


def _waited_for(outcome: Outcome[Any]) -> Outcome[Any]:
    if outcome.status is not OutcomeStatus.DONE:
        return outcome
    if outcome.reason == NOT_CHECKED:
        # The wait ended early, and the write alone is not what was asked for.
        return evolve(outcome, status=OutcomeStatus.UNKNOWN, reason=ONLY_REQUESTED)
    if outcome.reason == HEALTHY:
        return evolve(outcome, reason=None)  # The stage that it is in says more.
    return outcome


def show(output: Output, report: BulkReport[Any], *, rows: bool | None = None) -> None:
    """Write the outcomes to stdout, and a summary with advice to stderr.

    Args:
        output: Where to.
        report: The outcomes.
        rows: Whether there is a row for each Space, as with -v; else there are the
            successes in a line, and what failed by its cause. None: a pipe gets rows, a
            terminal does not.
    """
    if rows is None:
        rows = not output.table_out
    grouped = not output.json and not rows
    try:
        if output.json:
            output.document(as_json(report))
        elif grouped:
            _show_groups(output, report)
        else:
            output.rows(*outcome_rows(report), whole=True)
    finally:
        # Also where stdout is full: what was sent was sent.
        _show_summary(output, report, advises=not grouped)


def outcome_rows(
    report: BulkReport[Any],
) -> tuple[tuple[str, ...], list[tuple[str, Text, Text]]]:
    """Return the titles, and a row for each outcome."""
    rows = [
        (o.repo_id, outcome_text(o), detail_text(o, report.operation)) for o in report
    ]
    return ("Space", "outcome", "detail"), rows


def _show_summary(output: Output, report: BulkReport[Any], *, advises: bool) -> None:
    """Write the counts and what to look at; stdout has had the causes with advice."""
    style = "green" if report.ok else "red"
    counts = report.summary().removeprefix(report.operation)
    text = f"{title(report.operation)}{counts} in {report.elapsed:.1f} s"
    output.say(text, style=style)
    if (halted := halt_text(report)) is not None:
        output.say(f"{halted}.", style=style)
    if advises:
        _advise(output, report)
    if requested := [o for o in report.unknown if o.reason == ONLY_REQUESTED]:
        output.advise(
            f"{plural(len(requested))}: the request was accepted, and the wait ended"
            " before it was known whether they run. To go on waiting:",
            _command_for("wait", requested, "--stage building"),
        )
    elif report.unknown:
        output.advise(
            "The unknown ones may have been sent, and the Spaces do not show it."
            " Look at them:",
            _command_for("status", report.unknown),
        )


def _command_for(name: str, outcomes: Sequence[Outcome[Any]], stages: str = "") -> str:
    """Return a command for some Spaces; of very many, one for those of their owner.

    Args:
        name: The command.
        outcomes: Those of the Spaces.
        stages: An option that narrows those of the owner down.
    """
    ids = [outcome.repo_id for outcome in outcomes]
    owners = owners_of(ids)
    if len(ids) <= _NAMED_SPACES or len(owners) > 1:
        return f"spaces-async {name} {shlex.join(ids)}"
    return f"spaces-async {name} --org {shlex.quote(owners[0])} {stages}".rstrip()


def _show_groups(output: Output, report: BulkReport[Any]) -> None:
    """Write the successes in a line, and what failed by its cause."""
    for status, line in success_lines(report):
        style = "green" if status is OutcomeStatus.DONE else "yellow"
        output.paragraph(line, style=style)
    for old, new in moved(report).items():
        output.paragraph(f"{old} is now {new}", style="dim")
    show_causes(output, report)


def show_causes(output: Output, report: BulkReport[Any]) -> None:
    """Write what is not done by its cause, with what to do about it."""
    for cause in causes(report):
        style = "red" if cause.status in TROUBLES else "yellow"
        output.paragraph(cause.title, style=style)
        output.paragraph(f"  {cause.names}")
        if cause.status not in TROUBLES:
            continue
        for hint in cause.hints:
            output.paragraph(f"  {hint}", style="dim")
        if command := cause.command:
            output.command("  To see why:", command)
        if tail := cause.log_tail:
            output.paragraph(f"  The end of the log of {tail[0]}:", style="dim")
            for line in tail[1]:
                output.paragraph(f"  | {line}", style="dim")


def shows_all(report: BulkReport[Any]) -> bool:
    """Return whether `show_causes` names each Space that is not done."""
    return all(cause.names_all for cause in causes(report))


def _advise(output: Output, report: BulkReport[Any]) -> None:
    """Write the causes with their counts, what to do, and the end of a log to stderr."""
    troubles = [cause for cause in causes(report) if cause.status in TROUBLES]
    if sum(len(cause.outcomes) for cause in troubles) > 1:
        for cause in troubles:
            output.say(f"  {cause.title}")
    for hint in hints_for(o.error for o in (*report.failed, *report.unknown)):
        output.say(hint)
    if command := log_command(report.failed):
        output.advise("To see why:", command)
    for cause in troubles:
        if tail := cause.log_tail:
            output.say(f"The end of the log of {tail[0]}:")
            for line in tail[1]:
                output.say(f"  | {line}")


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


def as_json(report: BulkReport[Any]) -> dict[str, Any]:
    """Return a report as JSON, in the words of the shell."""
    document = report.to_dict()
    for outcome in document["outcomes"]:
        if outcome["error"] is not None:
            outcome["error"] = in_shell_words(outcome["error"])
    return document


def outcome_text(outcome: Outcome[Any]) -> Text:
    """Return the status of an outcome in its colour."""
    shown = word(outcome.status)
    if outcome.ok:
        return Text(shown, style="green")
    return Text(shown, style="red" if outcome.status in TROUBLES else "yellow")


def detail_text(outcome: Outcome[Any], operation: str) -> Text:
    """Return what `detail` does, a stage in its colour."""
    text = detail(outcome, operation)
    stage: SpaceStage | None = getattr(outcome.value, "stage", None)
    if outcome.error is None and outcome.ok and stage is not None and text == stage:
        shown = Text(text, style=stage_style(stage))
    else:
        shown = Text(text, style="" if outcome.error else "dim")
    if outcome.new_id is None:
        return shown
    now = Text(clean(f"now {outcome.new_id}"), style="dim")
    return Text(", ").join(part for part in (shown, now) if part)
