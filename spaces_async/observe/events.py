"""The events that an observer is told. Pure data.

No event contains a token or the value of a secret. An event about one Space names it;
the others name none.

Calls and runs (a run is one bulk) have a number, which no other call or run of the
process has. `parent` is the call or the run that another one is part of: a read that
looks whether a lost write took effect is part of the call of that write, and the calls
of a bulk are part of its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from attrs import frozen

__all__ = [
    "AttemptEnded",
    "BreakerChanged",
    "CallEnded",
    "CallStarted",
    "Event",
    "Observer",
    "QuotaWait",
    "QuotaWindow",
    "Refusal",
    "RetryWait",
    "RunEnded",
    "RunStarted",
    "SpaceEnded",
    "StageChanged",
]


@frozen(kw_only=True)
class CallStarted:
    """A call begins. `CallEnded` follows, whatever happens.

    Attributes:
        call: Its number.
        parent: The call or run that it is part of; None if it is part of none.
        action: Kind of call, such as "restart".
        method: HTTP method.
        repo_id: The Space that it is about; None if it is about none.
    """

    call: int
    parent: int | None
    action: str
    method: str
    repo_id: str | None


@frozen(kw_only=True)
class CallEnded:
    """A call is over. Of a stream: it is open, or could not be opened.

    Attributes:
        call: Its number.
        parent: The call or run that it is part of; None if it is part of none.
        action: Kind of call, such as "restart".
        method: HTTP method.
        repo_id: The Space that it is about; None if it is about none.
        seconds: How long it took, with all its waits.
        attempts: How many requests it sent.
        waited: Seconds of it that were waits: for the quota, and between attempts.
        error: Name of the exception that it raised, such as "SpaceNotFoundError" or
            "CancelledError"; None if it returned.
        message: What a `SpacesError` says; None for other exceptions, and without one.
        status: Status of the response that the exception is about; None if none.
        outcome_unknown: Whether a write may or may not have taken effect.
    """

    call: int
    parent: int | None
    action: str
    method: str
    repo_id: str | None
    seconds: float
    attempts: int
    waited: float
    error: str | None = None
    message: str | None = None
    status: int | None = None
    outcome_unknown: bool = False


@frozen(kw_only=True)
class AttemptEnded:
    """One request is over, whatever became of it.

    Attributes:
        call: The call that sent it.
        number: Its number in the call, from 1. Redirects that are followed count.
        action: Kind of call, such as "restart".
        method: HTTP method.
        url: Where it went, without query.
        host: Host of the URL.
        port: Port of the URL.
        repo_id: The Space that it is about; None if it is about none.
        seconds: From sending to the last byte of the response, of a stream to the
            headers.
        waited: Seconds before it for which it waited for the quota and a connection.
        status: Status of the response; None if there was none, or none in full.
        error: Name of the exception that says why there was no response, such as
            "ConnectionLostError" or "CancelledError"; None if there was one. Also None
            where the Space's state made the response needless.
        quota_left: Calls that the token has left in its window, as the response says;
            None if it does not say.
    """

    call: int
    number: int
    action: str
    method: str
    url: str
    host: str
    port: int
    repo_id: str | None
    seconds: float
    waited: float
    status: int | None = None
    error: str | None = None
    quota_left: int | None = None


@frozen
class QuotaWait:
    """A call begins to wait for the Hub's quota, or its wait turns out to be longer.

    Attributes:
        seconds: Longest time that the wait may take.
        reason: "window" (quota used up) or "action" (one kind of call is limited).
        action: The kind of call that waits, such as "restart".
        call: The call that waits; None if it is not known.
    """

    seconds: float
    reason: Literal["window", "action"]
    action: str
    call: int | None = None


@frozen(kw_only=True)
class RetryWait:
    """A pause before another attempt begins.

    Attributes:
        seconds: How long it takes.
        action: Kind of call, or the operation of the run.
        call: The call that is tried again; None in a run, whose Space is.
        run: The run; None outside of one.
        repo_id: The Space that it is about; None if it is about none.
    """

    seconds: float
    action: str
    call: int | None
    run: int | None
    repo_id: str | None


@frozen(kw_only=True)
class Refusal:
    """The Hub refused a request for now: a 429, or a 503 with `Retry-After`.

    Attributes:
        call: The call that was refused.
        action: Kind of call, such as "restart".
        status: 429 or 503.
        retry_after: Seconds that the Hub asks to wait; None if it does not say.
        quota_left: Calls left in the window, as the response says; None if it does not
            say. With some left, only this kind of call is limited.
    """

    call: int
    action: str
    status: int
    retry_after: float | None
    quota_left: int | None


@frozen(kw_only=True)
class QuotaWindow:
    """The first response of a quota window arrived, or nothing is left of the window.

    Attributes:
        limit: Calls in a window; None if the Hub does not say.
        left: Calls left in it.
        resets_in: Seconds until it ends.
    """

    limit: int | None
    left: int
    resets_in: float


@frozen(kw_only=True)
class RunStarted:
    """The workers of a bulk begin. `RunEnded` follows when its stream is closed.

    Attributes:
        run: Its number.
        parent: The call or run that it is part of; None if it is part of none.
        operation: What is done to each Space, such as "restart".
        concurrency: How many Spaces are worked on at the same time.
        total: How many Spaces there are; None if that is not known yet.
    """

    run: int
    parent: int | None
    operation: str
    concurrency: int
    total: int | None


@frozen(kw_only=True)
class RunEnded:
    """A bulk is over.

    Attributes:
        run: Its number.
        operation: What was done to each Space.
        seconds: How long it took.
        counts: How many Spaces ended how, by the words of `OutcomeStatus`.
        stopped_by: Why it ended early, in the words of `BulkReport.stopped_by`; None
            if it did not.
    """

    run: int
    operation: str
    seconds: float
    counts: Mapping[str, int]
    stopped_by: str | None


@frozen(kw_only=True)
class SpaceEnded:
    """A Space of a run has its outcome.

    Attributes:
        run: The run.
        operation: What was done.
        repo_id: The Space.
        status: A word of `OutcomeStatus`, such as "done".
        attempts: How many requests were sent for it.
        seconds: How long it took.
        waited: Seconds of it that were waits.
        reason: Why it was left out, or is not healthy; None if there is nothing to say.
        error: Name of the exception that ended it; None without one.
    """

    run: int
    operation: str
    repo_id: str
    status: str
    attempts: int
    seconds: float
    waited: float
    reason: str | None
    error: str | None


@frozen(kw_only=True)
class BreakerChanged:
    """The circuit breaker of a run has another phase.

    Attributes:
        run: The run.
        phase: "open" while the Hub is down, "half-open" while one request is tried,
            "closed" while all go out.
    """

    run: int
    phase: Literal["closed", "open", "half-open"]


@frozen(kw_only=True)
class StageChanged:
    """A wait saw a Space in a new stage.

    Attributes:
        repo_id: The Space.
        stage: Its stage.
        before: The stage that the wait saw last; None at its first look.
        parent: The call or run that the wait is part of; None if it is part of none.
    """

    repo_id: str
    stage: str
    before: str | None
    parent: int | None


Event = (
    CallStarted
    | CallEnded
    | AttemptEnded
    | QuotaWait
    | RetryWait
    | Refusal
    | QuotaWindow
    | RunStarted
    | RunEnded
    | SpaceEnded
    | BreakerChanged
    | StageChanged
)
"""What an observer is told. Later versions may add events: ignore those you do not know."""


class Observer(Protocol):
    """Told of each event, as it happens. Any function that takes an event is one.

    It is called in the event loop, in the task that does what the event is about, so it
    must not block. If it raises, the first exception is logged and the call goes on.
    """

    def __call__(self, event: Event, /) -> None:
        """Take in an event.

        Args:
            event: What happens.
        """
        ...
