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
        counts: How many ended with each status so far. If the run is over, those that no
            host has finished are unknown or not attempted.
        stopped_by: Why the run ended early; None if it did not.
        hosts: How many blocks of up to 16 Spaces each host holds now. A host that has
            been silent for a lease is not counted.
    """

    store: str
    operation: str
    total: int
    counts: Mapping[OutcomeStatus, int]
    stopped_by: StopReason | None
    hosts: Mapping[str, int]

    @property
    def finished(self) -> int:
        """How many Spaces a host has worked on to the end, or may have."""
        left = self.counts.get(OutcomeStatus.NOT_ATTEMPTED, 0)
        return sum(self.counts.values()) - left

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: all is finished, or the run ended early."""
        return self.stopped_by is not None or sum(self.counts.values()) >= self.total
