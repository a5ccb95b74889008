"""The outcomes of a bulk for people: successes in a line, troubles by their cause."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from spaces_async.bulk import BulkReport, Outcome, OutcomeStatus
from spaces_async.bulk._engine.rollout import NOT_CHECKED
from spaces_async.bulk._engine.space_run import ALREADY_SO
from spaces_async.bulk._journal.format import HEALTHY
from spaces_async.bulk.report import SUCCESSES, TROUBLES, StopReason
from spaces_async.cli._errors import hints_for, reason, written_reason
from spaces_async.cli._output import human_seconds, sleep_seconds
from spaces_async.cli._wording import already_text, goal_word
from spaces_async.errors import SpaceFailedError, SpacesError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "KINDS_OF_KEYS",
    "ONLY_REQUESTED",
    "Cause",
    "causes",
    "detail",
    "log_command",
    "moved",
    "success_lines",
    "word",
]

_NAMED_DONE: Final = 3
_NAMED_TROUBLED: Final = 40
_TAIL_LINES: Final = 10
_MOST_SPACES: Final = 3
"""In what can follow a number, as "by an earlier run" can; what is longer is a sentence."""

KINDS_OF_KEYS: Final = ("secret", "secrets", "variable", "variables")

ONLY_REQUESTED: Final = "requested; whether it runs is not known"
"""The detail of a Space whose wait ended early."""

_KEYS_SET: Final = {
    "rotate_secret": "set",
    **{f"add_{what}": "set" for what in KINDS_OF_KEYS},
    **{f"delete_{what}": "deleted" for what in KINDS_OF_KEYS},
}
"""What a write of keys leaves, of which the Hub says nothing more."""

_EXPLAINED: Final = (
    OutcomeStatus.DONE,
    OutcomeStatus.SKIPPED,
    OutcomeStatus.UNCHANGED,
)
"""Their `reason` is the detail: "healthy", "static", "already so"."""


@frozen
class Cause:
    """Spaces that are not done for the same reason.

    Attributes:
        status: How they ended.
        text: Why; "" if nothing is known.
        outcomes: Their outcomes.
    """

    status: OutcomeStatus
    text: str
    outcomes: tuple[Outcome[Any], ...]

    @property
    def title(self) -> str:
        """How many there are, how they ended, and why: "2 failed: out of memory"."""
        head = f"{len(self.outcomes)} {word(self.status)}"
        return f"{head}: {self.text}" if self.text else head

    @property
    def names(self) -> str:
        """The ids, of many the first ones."""
        return named(self.outcomes, self._most)

    @property
    def names_all(self) -> bool:
        """Whether `names` has each of them."""
        return len(self.outcomes) <= self._most + 1

    @property
    def _most(self) -> int:
        few = self.status is OutcomeStatus.NOT_ATTEMPTED
        return _NAMED_DONE if few else _NAMED_TROUBLED

    @property
    def hints(self) -> list[str]:
        """What to do about it."""
        return hints_for(outcome.error for outcome in self.outcomes)

    @property
    def command(self) -> str | None:
        """The command that shows the log of the first one; None if none would help."""
        return log_command(self.outcomes)

    @property
    def log_tail(self) -> tuple[str, Sequence[str]] | None:
        """The end of the log of the first one that has one, with its id."""
        for outcome in self.outcomes:
            error = outcome.error
            if isinstance(error, SpaceFailedError) and error.log_tail:
                return outcome.repo_id, error.log_tail[-_TAIL_LINES:]
        return None


def causes(report: BulkReport[Any]) -> list[Cause]:
    """Group what is not done by how it ended and why, troubles and large groups first."""
    groups: dict[tuple[OutcomeStatus, str], list[Outcome[Any]]] = {}
    for outcome in report:
        if outcome.status not in SUCCESSES:
            # The message may name the Space, and the cause is the same for others.
            text = detail(outcome, report.operation).replace(outcome.repo_id, "ID")
            groups.setdefault((outcome.status, text), []).append(outcome)
    found = [Cause(status, text, tuple(of)) for (status, text), of in groups.items()]
    order = list(OutcomeStatus)
    return sorted(
        found,
        key=lambda cause: (
            cause.status not in TROUBLES,
            -len(cause.outcomes),
            order.index(cause.status),
        ),
    )


def success_lines(report: BulkReport[Any]) -> list[tuple[OutcomeStatus, str]]:
    """Return a line for those that are done, unchanged and skipped, where there are any."""
    lines: list[tuple[OutcomeStatus, str]] = []
    for status, outcomes in report.by_status.items():
        if status not in SUCCESSES or not report.counts[status]:
            continue
        details = Counter(detail(o, report.operation) for o in outcomes)
        after = _counted(details)
        head = f"{report.counts[status]} {word(status)}"
        names = named(outcomes, _NAMED_DONE)
        head = f"{head} ({after})" if after else head
        lines.append((status, f"{head}: {names}" if names else head))
    return lines


def _counted(details: Counter[str]) -> str:
    """Return details with how often there is each: "6 healthy, 1 by an earlier run"."""
    found = [(text, count) for text, count in details.most_common() if text]
    if len(details) == 1:
        return ", ".join(text for text, _ in found)
    if any("," in text or text.count(" ") > _MOST_SPACES for text, _ in found):
        return "; ".join(f"{count}: {text}" for text, count in found)
    return ", ".join(f"{count} {text}" for text, count in found)


def detail(outcome: Outcome[Any], operation: str) -> str:
    """Return what was set or the stage of a Space afterwards, or why it is not done.

    Args:
        outcome: How the work on the Space ended.
        operation: The operation of the report.
    """
    left_out = outcome.status is OutcomeStatus.NOT_ATTEMPTED and (
        outcome.reason not in {str(stop) for stop in StopReason}
    )
    explained = outcome.status in _EXPLAINED or outcome.reason == ONLY_REQUESTED
    if outcome.reason and (left_out or explained):
        return _reason(outcome.reason, operation)
    if outcome.error is not None:
        # The id stands beside it.
        text = reason(outcome.error).removeprefix(f"{outcome.repo_id}: ")
        # What was written down of an error is all that is left of it.
        return written_reason(text) if type(outcome.error) is SpacesError else text
    if outcome.from_journal:
        return "by an earlier run"
    stage = getattr(outcome.value, "stage", None)
    what = "" if stage is None else str(stage)
    if outcome.status is not OutcomeStatus.DONE:
        return what
    return _what_was_set(operation.removesuffix(" and wait"), outcome.value) or what


def _reason(text: str, operation: str) -> str:
    """Return why an outcome is as it is; a pause makes no Space healthy."""
    well = goal_word(operation)
    if text == ALREADY_SO:
        return already_text(operation)
    if well == HEALTHY:
        return text
    return {HEALTHY: well, NOT_CHECKED: f"not checked whether {well}"}.get(text, text)


def _what_was_set(operation: str, value: object) -> str | None:
    """Return what the Hub has now; None where the stage says more."""
    if not isinstance(value, SpaceRuntime):
        return _KEYS_SET.get(operation)
    text: str | None = None
    match operation.removeprefix("undo "):
        case "set_sleep_time" if (seconds := sleep_seconds(value)) is not None:
            text = f"sleep time {human_seconds(seconds if seconds > 0 else None)}"
        case "request_hardware" if value.requested_hardware is not None:
            text = f"{value.requested_hardware}, {value.stage}"
        case "set_replicas" if value.replicas and value.replicas.requested is not None:
            text = f"replicas {value.replicas.requested}, {value.stage}"
        case "set_dev_mode" if value.dev_mode is not None:
            text = f"dev mode {'on' if value.dev_mode else 'off'}"
        case _:
            pass
    return text


def word(status: OutcomeStatus) -> str:
    """Return a status as people say it."""
    return str(status).replace("_", " ")


def named(outcomes: Iterable[Outcome[Any]], most: int) -> str:
    """Return the ids of the first few, and how many more there are."""
    ids = [outcome.repo_id for outcome in outcomes]
    shown, more = ids[:most], len(ids) - most
    if more == 1:  # its name is as short as saying so
        return ", ".join(ids)
    return f"{', '.join(shown)} and {more} more" if more > 0 else ", ".join(shown)


def log_command(outcomes: Iterable[Outcome[Any]]) -> str | None:
    """Return the command that shows the log of the first Space that failed."""
    for outcome in outcomes:
        error = outcome.error
        if isinstance(error, SpaceFailedError) and error.runtime is not None:
            build = " --build" if error.runtime.stage is SpaceStage.BUILD_ERROR else ""
            if build or error.runtime.stage is SpaceStage.RUNTIME_ERROR:
                return f"spaces-async logs {outcome.repo_id}{build} -n 20"
    return None


def moved(report: BulkReport[Any]) -> Mapping[str, str]:
    """Return the new ids of the Spaces that have one by now."""
    return {o.repo_id: o.new_id for o in report if o.new_id is not None}
