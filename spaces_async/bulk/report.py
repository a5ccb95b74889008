"""How the work on each Space of a bulk ended."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, Literal, TypeVar, cast

from attrs import define, field, frozen

from spaces_async import _html
from spaces_async._record import (
    JsonData,
    Record,
    blank,
    holds_records,
    plain,
    short_repr,
)
from spaces_async.bulk._ids import IdTable
from spaces_async.errors import BulkError, SpacesError

__all__ = [
    "BulkProgress",
    "BulkReport",
    "Keep",
    "Outcome",
    "OutcomeStatus",
    "ReportBuilder",
    "StopReason",
    "Wave",
]

T = TypeVar("T")

Keep = Literal["all", "failures", "none"]
"""Which outcomes a report keeps: "failures" are those that are not `Outcome.ok`."""


class StopReason(StrEnum):
    """Why a bulk ended early."""

    FAIL_FAST = "fail_fast"
    """A Space failed, and `fail_fast` was given."""
    MAX_FAILURES = "max_failures"
    """As many Spaces failed as `max_failures` allows."""
    DEADLINE = "deadline"
    """The deadline passed."""
    AUTHENTICATION = "authentication"
    """The token was refused again and again."""
    CANCELLED = "cancelled"
    """The task was cancelled, or `stop` was called."""
    TARGETS = "targets"
    """The iterator of targets raised."""
    LEFT = "left"
    """The loop over the stream was left."""
    OUTAGE = "outage"
    """The Hub was down for longer than `max_outage`."""
    JOURNAL = "journal"
    """The journal could not be written."""
    STORE = "store"
    """The store of the run was away for longer than `max_outage`, or cannot be used."""
    UNHEALTHY = "unhealthy"
    """A Space of a wave failed or did not become healthy."""
    ABORTED = "aborted"
    """`abort` was called."""


_ENDED_EARLY: Final = {
    StopReason.FAIL_FAST: "stopped after the first failure",
    StopReason.MAX_FAILURES: "stopped after too many failures",
    StopReason.DEADLINE: "stopped by the deadline",
    StopReason.AUTHENTICATION: "stopped because the token is refused",
    StopReason.CANCELLED: "interrupted",
    StopReason.TARGETS: "stopped because the targets could not all be read",
    StopReason.LEFT: "left before its end",
    StopReason.OUTAGE: "stopped because the Hub was out for too long",
    StopReason.JOURNAL: "stopped because the journal could not be written",
    StopReason.STORE: "stopped because the store of the run could not be used",
    StopReason.UNHEALTHY: "halted because a wave was not healthy",
    StopReason.ABORTED: "aborted",
}


class OutcomeStatus(StrEnum):
    """How the work on one Space ended."""

    DONE = "done"
    """It was done."""
    UNCHANGED = "unchanged"
    """It was so already; nothing was sent."""
    SKIPPED = "skipped"
    """It was left out; `Outcome.reason` says why."""
    FAILED = "failed"
    """It was refused, or could not be sent."""
    UNKNOWN = "unknown"
    """It was sent, the response was lost, and the Space's state does not tell."""
    NOT_ATTEMPTED = "not_attempted"
    """The bulk ended before its turn."""


SUCCESSES: Final = frozenset(
    {OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.SKIPPED}
)
TROUBLES: Final = frozenset({OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN})
_KEPT: Final[Mapping[Keep, frozenset[OutcomeStatus]]] = {
    "all": frozenset(OutcomeStatus),
    "failures": frozenset(OutcomeStatus) - SUCCESSES,
    "none": frozenset(),
}


_WITH_VALUE: Final = frozenset({OutcomeStatus.DONE, OutcomeStatus.UNCHANGED})


@frozen(repr=False)
class Outcome(Record, Generic[T]):
    """How the work on one Space ended.

    Attributes:
        repo_id: The Space.
        status: How it ended.
        value: What the operation returned; None unless it is done or unchanged. Of a
            Space that was waited for it is the runtime at the end of the wait. See
            `result` for a value that type checkers do not take for None.
        error: What it raised; None unless it failed, is unknown or was skipped.
        attempts: Requests sent for it, reads of its state included.
        elapsed: Seconds from its turn to its end.
        waited: Seconds of these spent waiting for the quota or between attempts.
        from_journal: Whether an earlier bulk with the same journal did it; then only
            `status` and `attempts` are known.
        reason: Why it was skipped ("static", or "not known: ..." of a `Selection`), is
            unchanged ("already so"), was not attempted (why the bulk stopped, or
            "compute quota"), or failed after its write was done ("unhealthy"). Where
            the health is asked for, one that is done is "healthy", or "not checked
            for health". None otherwise.
        new_id: The id that the Space has by now, where the Hub redirected the write to
            it; None if the Hub did not.
        wave: The number of the wave in which it was started, from 1; None if the bulk
            has no waves, or did not start it.
    """

    repo_id: str
    status: OutcomeStatus
    value: T | None = None
    error: Exception | None = None
    attempts: int = 0
    elapsed: float = 0.0
    waited: float = 0.0
    from_journal: bool = False
    reason: str | None = None
    new_id: str | None = None
    wave: int | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: done, unchanged or skipped."""
        return self.status in SUCCESSES

    @property
    def result(self) -> T:
        """What the operation returned, for a Space that is done or unchanged.

        Raises:
            Exception: `error`, for one that failed, is unknown or was skipped.
            SpacesError: There is no result: it was not attempted, or an earlier bulk
                did it, whose journal does not hold it.
        """
        if self.error is not None:
            raise self.error
        if self.status not in _WITH_VALUE or self.from_journal:
            why = "an earlier bulk did it" if self.from_journal else self.status
            raise SpacesError(f"{self.repo_id} has no result: {why}")
        return cast("T", self.value)

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON.

        `value` is there if it is a record, or a collection of records; what a callable
        of your own returned may be anything, so it is left out. `stage` is the one that
        the Space is in then; None if the operation does not tell it.

        Args:
            raw: Add the whole JSON object that the Hub sent to the value.
        """
        stage: str | None = getattr(self.value, "stage", None)
        shown = self.value if holds_records(self.value) else None
        return {
            "repo_id": self.repo_id,
            "status": str(self.status),
            "reason": self.reason,
            "new_id": self.new_id,
            "stage": None if stage is None else str(stage),
            "value": plain(shown, raw=raw),
            "error": None if self.error is None else str(self.error),
            "error_type": None if self.error is None else type(self.error).__name__,
            "attempts": self.attempts,
            "elapsed": round(self.elapsed, 3),
            "waited": round(self.waited, 3),
            "from_journal": self.from_journal,
            "wave": self.wave,
        }

    def keys(self) -> Iterable[str]:
        """Return the keys of `to_dict()`, so that `dict(outcome)` is the same."""
        return self.to_dict().keys()


BlankOutcome: Final = blank(Outcome)
"""What becomes an outcome; see `blank`. Each Space of a bulk makes one."""


@frozen(repr=False)
class BulkProgress(Record):
    """How far a bulk has come, as its progress callback gets it.

    Attributes:
        outcome: The one that has just been added.
        finished: How many have an outcome.
        failed: How many of them failed or are unknown.
        total: How many there are in all; None until the targets have all been seen.
    """

    outcome: Outcome[Any]
    finished: int
    failed: int
    total: int | None


@frozen(repr=False)
class Wave(Record):
    """How far one wave of a bulk has come.

    Attributes:
        number: Which one it is, from 1.
        size: How many Spaces belong to it.
        started: How many of these have been started.
        finished: How many of these have an outcome.
        healthy: How many of these ended well. One whose health was asked for and not
            seen to the end is not among them.
        troubled: How many of these failed, are unknown or are not healthy.
        began: When its first Space was started, in seconds since the bulk began; None
            if none was.
        ended: When its last Space got its outcome, likewise; None while one is on its
            way.
        halted: Whether the bulk ended because this wave was not healthy.
    """

    number: int
    size: int
    started: int = 0
    finished: int = 0
    healthy: int = 0
    troubled: int = 0
    began: float | None = None
    ended: float | None = None
    halted: bool = False

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON, with times to a thousandth of a second."""
        fields = super().to_dict(raw=raw)
        for name in ("began", "ended"):
            if fields[name] is not None:
                fields[name] = round(fields[name], 3)
        return fields


def _zeros() -> dict[OutcomeStatus, int]:
    return dict.fromkeys(OutcomeStatus, 0)


class MadeBy:
    """What a bulk did, for `retry_failed`.

    It may hold a secret, so no copy and no pickle of a report has it.
    """

    __slots__ = ("operation", "rollout")

    def __init__(self, operation: Any) -> None:
        self.operation = operation
        self.rollout: dict[str, Any] = {}

    def __reduce__(self) -> Any:
        return MadeBy, (None,)


@define(eq=False, repr=False)
class BulkReport(JsonData, Generic[T]):
    """One outcome for each distinct Space, in the order in which they first came.

    While a bulk runs, the report of its stream grows; it stays readable after a cancel
    or an error.

    With `keep="failures"` or `keep="none"` it has only some of the outcomes, or none.
    `counts`, `len()`, `ok`, `summary()` and the repr tell of all of them all the same.

    Attributes:
        operation: What was done, such as "restart".
        stopped_by: Why the bulk ended early; None if it went through.
        elapsed: Seconds that it took, so far.
        keep: Which outcomes it keeps: "all"; "failures", those that are not ok (failed,
            unknown, not attempted); or "none".
    """

    operation: str
    stopped_by: StopReason | None = None
    elapsed: float = 0.0
    keep: Keep = "all"
    _made_by: MadeBy = field(factory=lambda: MadeBy(None), init=False)
    # The Spaces that are in progress, and those whose outcomes are kept.
    _slots: dict[str, Outcome[T] | None] = field(
        factory=dict[str, "Outcome[T] | None"], init=False
    )
    _counts: dict[OutcomeStatus, int] = field(factory=_zeros, init=False)
    _waves: list[Wave] = field(factory=list[Wave], init=False)
    # How many of these an earlier bulk with the same journal did.
    _before: dict[OutcomeStatus, int] = field(factory=_zeros, init=False)
    _by_whom: str = field(default="before", init=False)

    @property
    def outcomes(self) -> list[Outcome[T]]:
        """The outcomes so far that are kept."""
        return _html.RecordList(o for o in self._slots.values() if o is not None)

    @property
    def counts(self) -> Mapping[OutcomeStatus, int]:
        """How many Spaces ended with each status so far, whether kept or not."""
        return dict(self._counts)

    @property
    def waves(self) -> tuple[Wave, ...]:
        """How far each wave has come; empty for a bulk without waves."""
        return tuple(self._waves)

    @property
    def by_status(self) -> Mapping[OutcomeStatus, list[Outcome[T]]]:
        """The kept outcomes of each status; an empty list where there are none."""
        sorted_out: dict[OutcomeStatus, list[Outcome[T]]] = {
            status: _html.RecordList() for status in OutcomeStatus
        }
        for outcome in self.outcomes:
            sorted_out[outcome.status].append(outcome)
        return sorted_out

    @property
    def succeeded(self) -> list[Outcome[T]]:
        """Those that were done."""
        return self.by_status[OutcomeStatus.DONE]

    @property
    def unchanged(self) -> list[Outcome[T]]:
        """Those that were so already; nothing was sent to them."""
        return self.by_status[OutcomeStatus.UNCHANGED]

    @property
    def skipped(self) -> list[Outcome[T]]:
        """Those that were left out, such as static Spaces."""
        return self.by_status[OutcomeStatus.SKIPPED]

    @property
    def failed(self) -> list[Outcome[T]]:
        """Those that were refused or could not be sent; not the unknown ones."""
        return self.by_status[OutcomeStatus.FAILED]

    @property
    def unknown(self) -> list[Outcome[T]]:
        """Those that were sent, with an effect that is not known."""
        return self.by_status[OutcomeStatus.UNKNOWN]

    @property
    def not_attempted(self) -> list[Outcome[T]]:
        """Those that the bulk ended before."""
        return self.by_status[OutcomeStatus.NOT_ATTEMPTED]

    @property
    def ok(self) -> bool:
        """Whether it went through, with every Space done, unchanged or skipped."""
        good = sum(self._counts[status] for status in SUCCESSES)
        return self.stopped_by is None and good == len(self)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[Outcome[T]]:
        return iter(self.outcomes)

    def __repr__(self) -> str:
        counts = {str(s): count for s, count in self._counts.items() if count}
        fields: list[tuple[str, object]] = [("operation", self.operation)]
        if self.stopped_by is not None:
            fields.append(("stopped_by", self.stopped_by))
        fields += [*counts.items(), ("elapsed", round(self.elapsed, 3))]
        if self.keep != "all":
            fields.append(("keep", self.keep))
        return short_repr(type(self).__name__, fields)

    def summary(self) -> str:
        """Return one line for people, such as "restart: 198 done, 2 failed"."""
        counts = [
            f"{count} {status.replace('_', ' ')}{self._note(status)}"
            for status, count in self._counts.items()
            if count
        ]
        line = f"{self.operation}: {', '.join(counts) or 'no Spaces'}"
        if self.stopped_by is None:
            return line
        return f"{line} ({_ENDED_EARLY[self.stopped_by]})"

    def _note(self, status: OutcomeStatus) -> str:
        before = self._before[status]
        return f" ({before} of them {self._by_whom})" if before else ""

    def raise_for_failures(self) -> None:
        """Raise if any Space failed or is unknown.

        Raises:
            BulkError: A group with the exception of each; it has this report. With
                `keep="none"` it has one exception, which says how many there are.
        """
        troubled = sum(self._counts[status] for status in TROUBLES)
        if not troubled:
            return
        errors = [
            o.error or SpacesError(f"{o.repo_id}: the outcome is {o.status}")
            for o in self.outcomes
            if o.status in TROUBLES
        ]
        if len(errors) < troubled:
            left = troubled - len(errors)
            errors.append(
                SpacesError(
                    f"{left} failed or unknown; keep={self.keep!r} kept no outcome of"
                    " them"
                )
            )
        raise BulkError(self.summary(), errors, self)

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON: the counts of all outcomes, and the kept ones.

        Args:
            raw: Add the whole JSON object that the Hub sent to the values.
        """
        return {
            "operation": self.operation,
            "stopped_by": None if self.stopped_by is None else str(self.stopped_by),
            "elapsed": round(self.elapsed, 3),
            "keep": self.keep,
            "counts": {str(s): count for s, count in self._counts.items()},
            "waves": [wave.to_dict() for wave in self._waves],
            "outcomes": [outcome.to_dict(raw=raw) for outcome in self.outcomes],
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat row for each kept outcome, in the order of the report.

        `pandas.DataFrame(report.to_rows())` and `csv.DictWriter` take them as they are:
        each row has the same keys, and only strings, numbers, bools and None.
        """
        rows = [outcome.to_dict() for outcome in self.outcomes]
        for row in rows:
            del row["value"]
        return rows

    def _repr_html_(self) -> str:
        """Return a table for notebooks, with what is not done first."""
        rows = sorted(self.to_rows(), key=lambda row: row["status"] in SUCCESSES)
        names = ("repo_id", "status", "stage", "reason", "error", "elapsed")
        cells = [[row[name] for name in names] for row in rows]
        shown = _html.table(names, cells) if cells else ""
        return f"{_html.paragraph(self.summary())}{shown}"


class ReportBuilder(Generic[T]):
    """Fills a report while its bulk runs.

    Attributes:
        report: The report.
        waves: The waves of the report, to be replaced as they go on.
        finished: How many Spaces have an outcome.
        troubled: How many of these failed or are unknown.
        refused_in_a_row: How many were refused for the token since one was done.
    """

    def __init__(self, operation: str, *, keep: Keep = "all") -> None:
        """Begin a report.

        Args:
            operation: What is done.
            keep: Which outcomes it keeps; see `BulkReport`.
        """
        self.report: BulkReport[T] = BulkReport(operation, keep=keep)
        self.waves = self.report._waves  # noqa: SLF001  (it is the report's builder)  # pyright: ignore[reportPrivateUsage]
        self.finished = 0
        self.troubled = 0
        self.refused_in_a_row = 0
        self._slots = self.report._slots  # noqa: SLF001  (as above)  # pyright: ignore[reportPrivateUsage]
        self._counts = self.report._counts  # noqa: SLF001  (as above)  # pyright: ignore[reportPrivateUsage]
        self._before = self.report._before  # noqa: SLF001  (as above)  # pyright: ignore[reportPrivateUsage]
        self._kept = _KEPT[keep]
        # Where all outcomes are kept, the report itself tells what came before.
        self._seen = None if keep == "all" else IdTable()

    def claim(self, repo_id: str, *, distinct: bool = False) -> bool:
        """Give a Space its place; return False if it has, or had, one already.

        Args:
            repo_id: The Space.
            distinct: Whether it is known that it had none.
        """
        if repo_id in self._slots:
            return False
        if not distinct and self._seen is not None and not self._seen.add(repo_id):
            return False
        self._slots[repo_id] = None
        return True

    def forget(self, repo_id: str) -> None:
        """Take the place of a Space back, which is left to another host."""
        self._slots.pop(repo_id, None)

    def sort(self, repo_ids: Iterable[str]) -> None:
        """Bring the outcomes that are kept into the order of these Spaces."""
        kept = dict(self._slots)
        order = [repo_id for repo_id in repo_ids if repo_id in kept]
        if order:
            rest = kept.keys() - set(order)
            self._slots.clear()
            for repo_id in (*order, *(i for i in kept if i in rest)):
                self._slots[repo_id] = kept[repo_id]

    def add(self, outcome: Outcome[T]) -> None:
        """Count the outcome of a Space, and keep it or not; each has one."""
        status = outcome.status
        if status in self._kept:
            self._slots[outcome.repo_id] = outcome
        else:
            self._slots.pop(outcome.repo_id, None)
        self.finished += 1
        self._counts[status] += 1
        if outcome.from_journal:
            self._before[status] += 1
        if status in TROUBLES:
            self.troubled += 1

    def overrule(self, before: OutcomeStatus, outcome: Outcome[T]) -> None:
        """Put another outcome in the place of one that was added.

        Args:
            before: The status of that one.
            outcome: What takes its place.
        """
        self.finished -= 1
        self._counts[before] -= 1
        if before in TROUBLES:
            self.troubled -= 1
        self.add(outcome)

    @property
    def is_whole(self) -> bool:
        """Whether each Space has an outcome, and none was not attempted."""
        if self._counts[OutcomeStatus.NOT_ATTEMPTED]:
            return False
        return all(self._slots.values())

    def progress(self, outcome: Outcome[T], total: int | None) -> BulkProgress:
        """Return how far the bulk has come."""
        return BulkProgress(outcome, self.finished, self.troubled, total)

    def close(
        self,
        repo_ids: Iterable[str],
        begun: Container[str],
        known: Callable[[str], Outcome[T] | None],
        *,
        note: Callable[[Outcome[T]], Outcome[T]],
        distinct: bool = False,
    ) -> list[Outcome[T]]:
        """Give an outcome to each Space that has none.

        Args:
            repo_ids: Those that never had a place.
            begun: Those for which something may have been sent: they are unknown.
            known: What an earlier bulk left of a Space that this one did not begin.
            note: Told of each outcome; returns it with its wave.
            distinct: Whether each of `repo_ids` is known to have had no place.
        """
        for repo_id in repo_ids:
            self.claim(repo_id, distinct=distinct)
        left = [repo_id for repo_id, o in self._slots.items() if o is None]
        added = [
            note(
                (None if repo_id in begun else known(repo_id))
                or self._left(repo_id, sent=repo_id in begun)
            )
            for repo_id in left
        ]
        for outcome in added:
            self.add(outcome)
        return added

    def _left(self, repo_id: str, *, sent: bool) -> Outcome[T]:
        if sent:
            return Outcome(repo_id, OutcomeStatus.UNKNOWN)
        reason = self.report.stopped_by
        return Outcome(
            repo_id,
            OutcomeStatus.NOT_ATTEMPTED,
            reason=None if reason is None else str(reason),
        )


Progress = Callable[[BulkProgress], None]
