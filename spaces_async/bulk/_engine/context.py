"""What all Spaces of a bulk share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from spaces_async._clock import Clock
from spaces_async._core.session import HubSession
from spaces_async.bulk._engine.gate import Gate
from spaces_async.bulk._engine.quota_guard import QuotaGuard
from spaces_async.bulk._engine.resolver import Resolver
from spaces_async.bulk._journal.history import JournalHistory
from spaces_async.errors import JournalError
from spaces_async.settings import RetryPolicy

if TYPE_CHECKING:
    from spaces_async._core.observation import RunScope  # noqa: TC004  (few need it)
    from spaces_async.client import SpacesClient  # noqa: TC004  (it lies above us)

OnUnknown = Literal["verify", "retry", "skip"]
MakeClient = Callable[[HubSession], "SpacesClient"]


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
        stopping: Whether nothing new may be started.
        ending: Whether also nothing more may be sent for a Space that is begun.
        on_journal_error: Told when the journal cannot be written.
        told: Tells the observers of this bulk; None if there are none.
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
    history: JournalHistory
    on_unknown: OnUnknown
    only_changes: bool
    records_before: bool
    expected: Mapping[str, Mapping[str, Any]]
    of_owner: Callable[[str], int]
    client: SpacesClient | None
    stopping: Callable[[], bool]
    ending: Callable[[], bool]
    on_journal_error: Callable[[JournalError], None]
    told: RunScope | None
