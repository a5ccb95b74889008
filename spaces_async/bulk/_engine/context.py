"""What all Spaces of a bulk share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import frozen

from spaces_async._clock import Clock
from spaces_async._core.session import HubSession
from spaces_async._core.shared import SendFence
from spaces_async.bulk._engine.gate import Gate
from spaces_async.bulk._engine.parts import StopSignal
from spaces_async.bulk._engine.quota_guard import QuotaGuard
from spaces_async.bulk._engine.resolver import Resolver
from spaces_async.errors import JournalError
from spaces_async.settings import RetryPolicy

if TYPE_CHECKING:
    from datetime import datetime

    from spaces_async._core.observation import RunScope  # noqa: TC004  (few need it)
    from spaces_async.bulk.report import Outcome
    from spaces_async.client import SpacesClient  # noqa: TC004  (it lies above us)

OnUnknown = Literal["verify", "retry", "skip"]
MakeClient = Callable[[HubSession], "SpacesClient"]


class History(Protocol):
    """What a bulk knows of earlier ones, or of other hosts, and leaves for them.

    Attributes:
        is_kept: Whether there is one; without, all of it does nothing.
        sent_by: Who may have sent a write that is in doubt: "by an earlier run".
    """

    @property
    def is_kept(self) -> bool: ...

    @property
    def sent_by(self) -> str: ...

    async def announce(
        self, repo_id: str, at: datetime, before: Mapping[str, Any] | None
    ) -> None:
        """Record that a write is going to be sent, and wait until that is durable."""
        ...

    def settled(self, repo_id: str) -> Outcome[Any] | None:
        """Return the outcome of a Space that there is nothing to do about."""
        ...

    def left(self, repo_id: str) -> Outcome[Any] | None:
        """Return what is known of a Space whose turn does not come in this bulk."""
        ...

    def in_doubt_since(self, repo_id: str) -> datetime | None:
        """Return since when the effect of an earlier write is not known."""
        ...

    def before(self, repo_id: str) -> Mapping[str, Any]:
        """Return the state before an earlier write, as it was recorded."""
        ...

    def note(self, outcome: Outcome[Any]) -> None:
        """Record the outcome of a Space that is among the targets."""
        ...

    def exhausted(self) -> None:
        """Record that all targets have been named."""
        ...

    def ended(self) -> None:
        """Record that the bulk ended by itself: each target has an outcome."""
        ...

    async def aclose(self) -> None:
        """Make everything durable, and close it."""
        ...


@frozen(kw_only=True)
class BulkContext:
    """What all Spaces of a bulk share.

    Attributes:
        name: What the operation is called.
        session: Calls with the caller's own retry policy.
        once: Calls that are sent once.
        policy: The caller's retry policy.
        total: Seconds that a Space may be refused for; None is no limit.
        clock: What measures time.
        gate: Where to wait while the Hub is down.
        resolver: Reads states.
        quota: Knows which Spaces the compute quota keeps from starting.
        history: The journal; what is going to be sent is recorded there first.
        on_unknown: What to do about a write that an earlier process left in doubt.
        only_changes: Whether to leave out what the state before makes needless.
        records_before: Whether the journal gets the state before each write.
        expected: The fields that a Space must show, by its id; one that shows others
            is left out.
        of_owner: Says how many Spaces of an owner are among the targets.
        client: What a user's function gets; None if there is no such function.
        stop: Says whether nothing new may be started, and whether also nothing more
            may be sent for a Space that is begun.
        on_journal_error: Told when the journal cannot be written.
        told: Tells the observers of this bulk; None if there are none.
        fence: Limits when writes may be sent, where the bulk is a part of the work on a
            Space of another run; None if it is not.
    """

    name: str
    session: HubSession
    once: HubSession
    policy: RetryPolicy
    total: float | None
    clock: Clock
    gate: Gate
    resolver: Resolver
    quota: QuotaGuard
    history: History
    on_unknown: OnUnknown
    only_changes: bool
    records_before: bool
    expected: Mapping[str, Mapping[str, Any]]
    of_owner: Callable[[str], int]
    client: SpacesClient | None
    stop: StopSignal
    on_journal_error: Callable[[JournalError], None]
    told: RunScope | None
    fence: SendFence | None
