"""How far a run is that many hosts work on."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from spaces_async._record import Record
from spaces_async.bulk.report import OutcomeStatus, StopReason

__all__ = ["RunState"]


@frozen(repr=False, kw_only=True)
class RunState(Record):
    """How far a run in a store is, over all hosts.

    Attributes:
        store: The URL of the run, without user and password.
        operation: What is done, such as "restart".
        total: How many Spaces the run has.
        counts: How many ended with each status so far.
        stopped_by: Why the run ended early; None if it did not.
        hosts: How many blocks of Spaces each host holds now.
    """

    store: str
    operation: str
    total: int
    counts: Mapping[OutcomeStatus, int]
    stopped_by: StopReason | None
    hosts: Mapping[str, int]

    @property
    def finished(self) -> int:
        """How many Spaces have an outcome."""
        return sum(self.counts.values())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: all is finished, or the run ended early."""
        return self.stopped_by is not None or self.finished >= self.total
