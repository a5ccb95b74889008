"""What became of each Space of a bulk."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from attrs import define, field, frozen

from spaces_async.errors import BulkError, SpacesError

__all__ = ["BulkProgress", "BulkReport", "Outcome", "OutcomeStatus"]

T = TypeVar("T")

_ENDED_EARLY: Final = {
    "fail_fast": "stopped after the first failure",
    "max_failures": "stopped after too many failures",
    "deadline": "stopped by the deadline",
    "authentication": "stopped because the token is refused",
    "cancelled": "interrupted",
    "targets": "stopped because the targets could not be read",
    "left": "left before its end",
    "outage": "stopped because the Hub was out for too long",
    "journal": "stopped because the journal could not be written",
}


class OutcomeStatus(StrEnum):
    """What became of one Space."""

    DONE = "done"
    """It was done."""
    UNCHANGED = "unchanged"
    """It was so already; nothing was sent."""
    SKIPPED = "skipped"
    """The plan left it out."""
    FAILED = "failed"
    """It was refused, or could not be sent."""
    UNKNOWN = "unknown"
    """It was sent, its answer was lost, and nobody can say what happened."""
    NOT_ATTEMPTED = "not_attempted"
    """The bulk ended before its turn."""


SUCCESSES: Final = frozenset({OutcomeStatus.DONE, OutcomeStatus.UNCHANGED})
TROUBLES: Final = frozenset({OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN})


@frozen
class Outcome(Generic[T]):
    """What became of one Space.

    Attributes:
        repo_id: The Space.
        status: What became of it.
        value: What the operation returned; None unless it is done.
        error: What it raised; None unless it failed or is unknown.
        attempts: Requests sent for it, verifying reads included.
        elapsed: Seconds from its turn to its end.
        waited: Seconds of these spent waiting for the quota or between attempts.
        from_journal: Whether an earlier bulk with the same journal did it; then only
            `status` and `attempts` are known.
    """

    repo_id: str
    status: OutcomeStatus
    value: T | None = None
    error: Exception | None = None
    attempts: int = 0
    elapsed: float = 0.0
    waited: float = 0.0
    from_journal: bool = False

    @property
    def ok(self) -> bool:
        """Whether the Space is as it was to be."""
        return self.status in SUCCESSES

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON.

        The value is left out, for it may be anything, but for the stage that the Space
        is in then: None if the operation tells none.
        """
        stage: str | None = getattr(self.value, "stage", None)
        return {
            "repo_id": self.repo_id,
            "status": str(self.status),
            "stage": None if stage is None else str(stage),
            "error": None if self.error is None else str(self.error),
            "error_type": None if self.error is None else type(self.error).__name__,
            "attempts": self.attempts,
            "elapsed": round(self.elapsed, 3),
            "waited": round(self.waited, 3),
            "from_journal": self.from_journal,
        }


@frozen
class BulkProgress:
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


@define(eq=False)
class BulkReport(Generic[T]):
    """One outcome for each distinct Space, in the order in which they first came.

    While a bulk runs, the report of its stream grows; it stays readable after a cancel
    or an error.

    Attributes:
        operation: What was done, such as "restart".
        stopped_by: Why the bulk ended early: "fail_fast", "max_failures", "deadline",
            "authentication", "cancelled", "targets" (their iterator raised), "left"
            (the loop over the stream was left), "outage" (the Hub was out for too long)
            or "journal" (it could not be written); None if it went through.
        elapsed: Seconds that it took, so far.
    """

    operation: str
    stopped_by: str | None = None
    elapsed: float = 0.0
    _slots: dict[str, Outcome[T] | None] = field(
        factory=dict[str, "Outcome[T] | None"], repr=False
    )
    _finished: int = field(default=0, repr=False)
    _troubled: int = field(default=0, repr=False)

    @property
    def outcomes(self) -> list[Outcome[T]]:
        """All outcomes so far."""
        return [o for o in self._slots.values() if o is not None]

    @property
    def by_status(self) -> Mapping[OutcomeStatus, list[Outcome[T]]]:
        """The outcomes of each status; an empty list for those that did not occur."""
        sorted_out: dict[OutcomeStatus, list[Outcome[T]]] = {
            status: [] for status in OutcomeStatus
        }
        for outcome in self.outcomes:
            sorted_out[outcome.status].append(outcome)
        return sorted_out

    @property
    def succeeded(self) -> list[Outcome[T]]:
        """Those that are as they were to be: done or unchanged."""
        return [o for o in self.outcomes if o.ok]

    @property
    def failed(self) -> list[Outcome[T]]:
        """Those that were refused or could not be sent; not the unknown ones."""
        return self.by_status[OutcomeStatus.FAILED]

    @property
    def unknown(self) -> list[Outcome[T]]:
        """Those of which nobody can say what happened."""
        return self.by_status[OutcomeStatus.UNKNOWN]

    @property
    def not_attempted(self) -> list[Outcome[T]]:
        """Those whose turn never came."""
        return self.by_status[OutcomeStatus.NOT_ATTEMPTED]

    @property
    def ok(self) -> bool:
        """Whether the bulk went through and every Space is as it was to be."""
        return self.stopped_by is None and len(self.succeeded) == len(self.outcomes)

    def __len__(self) -> int:
        return self._finished

    def __iter__(self) -> Iterator[Outcome[T]]:
        return iter(self.outcomes)

    def summary(self) -> str:
        """Return one line for people, such as "restart: 198 done, 2 failed"."""
        counts = [_counted(s, o) for s, o in self.by_status.items() if o]
        line = f"{self.operation}: {', '.join(counts) or 'no Spaces'}"
        if self.stopped_by is None:
            return line
        return f"{line} ({_ENDED_EARLY.get(self.stopped_by, self.stopped_by)})"

    def raise_for_failures(self) -> None:
        """Raise if any Space failed or is unknown.

        Raises:
            BulkError: A group with the exception of each; it has this report.
        """
        troubled = [o for o in self.outcomes if o.status in TROUBLES]
        if not troubled:
            return
        errors = [
            o.error or SpacesError(f"{o.repo_id}: the outcome is {o.status}")
            for o in troubled
        ]
        raise BulkError(self.summary(), errors, self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "operation": self.operation,
            "stopped_by": self.stopped_by,
            "elapsed": round(self.elapsed, 3),
            "counts": {str(s): len(o) for s, o in self.by_status.items()},
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
        }

    # What follows is for the executor.

    def claim(self, repo_id: str) -> bool:
        """Give a Space its place; False if it has one already."""
        if repo_id in self._slots:
            return False
        self._slots[repo_id] = None
        return True

    def add(self, outcome: Outcome[T]) -> None:
        """Put the outcome of a Space in its place; each has one."""
        self._slots[outcome.repo_id] = outcome
        self._finished += 1
        self._troubled += outcome.status in TROUBLES

    def progress(self, outcome: Outcome[T], total: int | None) -> BulkProgress:
        """Say how far the bulk has come."""
        return BulkProgress(outcome, self._finished, self._troubled, total)

    @property
    def troubled(self) -> int:
        """How many failed or are unknown."""
        return self._troubled

    def close(
        self, repo_ids: Iterator[str], begun: Container[str] = ()
    ) -> list[Outcome[T]]:
        """Give an outcome to what has none.

        Args:
            repo_ids: Those that never had a place; they were not attempted.
            begun: Those for which something may have been sent: they are unknown.
        """
        for repo_id in repo_ids:
            self.claim(repo_id)
        left = [repo_id for repo_id, o in self._slots.items() if o is None]
        added: list[Outcome[T]] = []
        for repo_id in left:
            sent = repo_id in begun
            status = OutcomeStatus.UNKNOWN if sent else OutcomeStatus.NOT_ATTEMPTED
            added.append(Outcome(repo_id, status))
            self.add(added[-1])
        return added


def _counted(status: OutcomeStatus, outcomes: list[Outcome[T]]) -> str:
    before = sum(outcome.from_journal for outcome in outcomes)
    text = f"{len(outcomes)} {status.replace('_', ' ')}"
    return f"{text} ({before} of them before)" if before else text


Progress = Callable[[BulkProgress], None]
