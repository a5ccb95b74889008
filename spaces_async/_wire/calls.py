"""What a call to the Hub is, and what can come of it. Pure data.

An `Action` says once and for all what kind of call something is: above all what
may be done when its answer is lost. A `Call` is one use of it. Sending one gives an
`Answer` or a `Failure`; both are values, so nothing that holds the token or a body
(as the frames of an exception do) travels upwards.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from attrs import field, frozen

from spaces_async._redacted import Redacted
from spaces_async.errors import SpacesError
from spaces_async.models import SpaceInfo

S = TypeVar("S")
T = TypeVar("T")


class OnLost(enum.Enum):
    """What may be done about a call that may or may not have been acted on."""

    REPEAT = "repeat"
    """Repeating it changes nothing more: reads, and writes with the same end state."""
    VERIFY_THEN_REPEAT = "verify, then repeat once"
    """Look at the state first; if nothing has happened, repeat it once."""
    VERIFY = "verify"
    """Look at the state; never repeat."""


@frozen
class Action:
    """A kind of call.

    Attributes:
        name: What users call it, such as "restart".
        method: HTTP method.
        on_lost: What may be done when its answer is lost.
    """

    name: str
    method: str
    on_lost: OnLost = OnLost.REPEAT

    @property
    def is_write(self) -> bool:
        """Whether it changes anything on the Hub."""
        return self.method != "GET"


class Verdict(enum.Enum):
    """What the state of a Space says about a write whose response was lost."""

    NOT_DONE = "not done"
    UNKNOWN = "unknown"


@frozen
class Done(Generic[T]):
    """The state shows that the write took effect."""

    value: T


@frozen
class TooEarly:
    """The state may not show the effect yet.

    Attributes:
        age: Read it again when the write is this many seconds old.
    """

    age: float


@frozen(kw_only=True)
class Circumstances:
    """What is known about a write whose response was lost, besides the state.

    Attributes:
        age: Seconds from the write to the read of the state, at least.
        patience: Seconds up to which a Space at rest shows that nothing happened.
        crashed: Whether the process that sent the write has ended.
        sent_at: When it was sent, by the Hub's clock; None if that is unknown.
        soon: Whether it was sent moments after another write of the same key.
    """

    age: float
    patience: float
    crashed: bool = False
    sent_at: datetime | None = None
    soon: bool = False


@frozen(kw_only=True)
class Evidence(Generic[S, T]):
    """Which state of a Space proves that a write took effect, and how to read it.

    Attributes:
        read: Makes the call that reads the state, given the Space's id.
        judge: Says what the state proves after a lost response. It may ask for a later
            read (`TooEarly`) or for another one (`Evidence`).
        result: Returns the result of a write that the Hub acted on, where its response
            cannot be read; None where there is nothing to return.
        listed: Finds the state in an entry of a listing, so that one call can tell of
            500 Spaces; None if a listing does not have it.
        settle: Seconds after the write from which on the state shows its effect; a
            listing that was read earlier is read again.
        already: Whether the state makes the write needless; None if none does.
        before_repeat: Whether a single call reads the state before it repeats the
            write. False where a repeat costs the Space nothing.
    """

    read: Callable[[str], Call[S]]
    judge: Callable[[S, Circumstances], Finding[T]]
    result: Callable[[S], Finding[T]] | None = None
    listed: Callable[[SpaceInfo], S | None] | None = None
    settle: float = 0.0
    already: Callable[[S], bool] | None = None
    before_repeat: bool = True


Finding = Done[T] | Verdict | TooEarly | Evidence[Any, T]
"""What a look at the state brings."""


@frozen(kw_only=True)
class Call(Generic[T]):
    """One call, complete but for the endpoint and the token.

    Attributes:
        action: What kind of call it is.
        segments: Parts of the path after `/api`, each valid by itself.
        query: Pairs in their order.
        body: The JSON to send.
        secrets: What must not come back in an error, if the Hub should echo it.
        decode: Makes the result of the response's body; raises `DecodeError`.
        repo_id: The Space it is about; None if it is about none.
        evidence: How to find out whether a write took effect.
        absent: The result where the Hub says that the Space does not exist; None if
            that is an error.
        bodyless: The result where the status of the response says it all; None if its
            body matters.
        stamp: What the Hub stamps with the time of this write, such as a secret's key.
            Two writes of it within moments cannot be told apart by that time.
        remembered: Whether the result does not change for a token, so that the call
            is sent once and its result kept.
        refine: Makes a more telling error of an error response.
    """

    action: Action
    segments: tuple[str, ...]
    decode: Callable[[bytes], T]
    query: tuple[tuple[str, str], ...] = ()
    body: Redacted[bytes] | None = None
    secrets: tuple[Redacted[str], ...] = ()
    repo_id: str | None = None
    evidence: Evidence[Any, T] | None = None
    absent: Done[T] | None = None
    bodyless: Done[T] | None = None
    stamp: str | None = None
    remembered: bool = False
    refine: Callable[[SpacesError], SpacesError] | None = None


@frozen
class Answer:
    """A whole HTTP answer, reduced to what is looked at.

    Attributes:
        status: HTTP status.
        body: The body, decompressed.
        request_id: The Hub's, or ours if it sent none.
        code: `X-Error-Code`.
        error_message: `X-Error-Message`.
        rate_limit: All `RateLimit` headers, joined.
        rate_limit_policy: All `RateLimit-Policy` headers, joined.
        retry_after: `Retry-After`.
        date: `Date`.
        location: `Location`.
        next_url: Target of `Link: …; rel="next"`, absolute.
    """

    status: int
    body: bytes = field(repr=False)
    request_id: str | None = None
    code: str | None = None
    error_message: str | None = None
    rate_limit: str | None = None
    rate_limit_policy: str | None = None
    retry_after: str | None = None
    date: str | None = None
    location: str | None = None
    next_url: str | None = None


class FailureClass(enum.Enum):
    """What a failure says about whether the Hub acted."""

    NEVER_SENT = "A"
    REFUSED = "B"
    AMBIGUOUS = "C"
    APPLIED = "D"
    DEFINITE = "E"


@frozen
class Failure:
    """An attempt that brought no result.

    Attributes:
        kind: What it says about whether the Hub acted.
        error: What to raise if it is not tried again.
        wait: Seconds that the server asks this call to wait; None if it did not say.
    """

    kind: FailureClass
    error: SpacesError
    wait: float | None = None


LostPhase = Literal["connect", "read", "attempt", "total"]


@frozen
class Lost:
    """An attempt without a whole answer, as the transport saw it.

    Attributes:
        reason: One line for people, without anything secret.
        sent: False if no byte of the request can have gone out.
        permanent: True if trying again is useless (a certificate).
        phase: Which time limit ended it; None if it was none.
        status: Status of an answer whose body broke off; None if none had come.
        too_large: The body went over the cap.
        undecodable: The body came, but in no form that can be read.
        request_id: As on `Answer`.
    """

    reason: str
    sent: bool
    permanent: bool = False
    phase: LostPhase | None = None
    status: int | None = None
    too_large: bool = False
    undecodable: bool = False
    request_id: str | None = None


def nothing(_body: bytes) -> None:
    """Decode an answer that says nothing: its status was the result."""
