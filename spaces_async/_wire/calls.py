"""What a call to the Hub is, and how it can fail. Pure data.

An `Action` says what kind of call something is: above all, what may be done when the
response is lost. A `Call` is one use of it. An attempt to send it that brings no result
gives a `Failure`: a value, so that no frame of an exception, which may hold the token or
a body, travels upwards.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from attrs import Factory, define, field, frozen

from spaces_async._redacted import Redacted
from spaces_async._wire.converter import DecodeError, decode_object
from spaces_async.errors import SpacesError
from spaces_async.models import SpaceInfo, SpaceRuntime

S = TypeVar("S")
T = TypeVar("T")


class OnLost(enum.Enum):
    """What may be done about a call when it is unknown whether the Hub acted."""

    REPEAT = "repeat"
    """Repeating it changes nothing more: reads, and writes with the same end state."""
    VERIFY_THEN_REPEAT = "verify, then repeat once"
    """Look at the state first; if nothing has happened, repeat it once."""
    VERIFY = "verify"
    """Look at the state; never repeat."""


def _is_write(action: Action) -> bool:
    return action.method != "GET"


@frozen
class Action:
    """A kind of call.

    Attributes:
        name: What users call it, such as "restart".
        method: HTTP method.
        on_lost: What may be done when the response is lost.
        is_write: Whether it can change anything on the Hub.
    """

    name: str
    method: str
    on_lost: OnLost = OnLost.REPEAT
    is_write: bool = field(
        default=Factory(_is_write, takes_self=True), init=False, eq=False, repr=False
    )


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
        crashed: Whether the process that sent the write has ended.
        sent_at: When it was sent, by the Hub's clock; None if that is unknown.
        soon: Whether it was sent moments after another write of the same key.
        before: The runtime before the write, where a listing showed it.
    """

    age: float
    crashed: bool = False
    sent_at: datetime | None = None
    soon: bool = False
    before: SpaceRuntime | None = None


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
        late_look: Seconds after which the state is read while the response is still
            awaited; None is never.
        already: Whether the state makes the write needless; None if none does.
        before_repeat: Whether a single call reads the state before it repeats the
            write. False where a repeat costs the Space nothing.
    """

    read: Callable[[str], Call[S]]
    judge: Callable[[S, Circumstances], Finding[T]]
    result: Callable[[S], Finding[T]] | None = None
    listed: Callable[[SpaceInfo], S | None] | None = None
    settle: float = 0.0
    late_look: float | None = None
    already: Callable[[S], bool] | None = None
    before_repeat: bool = True


Finding = Done[T] | Verdict | TooEarly | Evidence[Any, T]
"""What a look at the state brings."""


@define(kw_only=True)
class Call(Generic[T]):
    """One call, complete except for the endpoint and the token.

    Nothing changes it. It is not frozen because attrs needs twice the time for that.

    Attributes:
        action: What kind of call it is.
        segments: Parts of the path after `/api`, each valid by itself.
        query: Pairs in their order.
        body: The JSON to send.
        secrets: Values that no error may show, even if the Hub echoes them.
        decode: Makes the result from the response's body; raises `DecodeError`.
        repo_id: The Space that the call is about; None if it is about none.
        evidence: How to find out whether a write took effect.
        absent: The result if the Hub says that the Space does not exist; None if
            that is an error.
        bodyless: The result if the status of the response is enough; None if its
            body matters.
        stamp: What the Hub stamps with the time of this write, such as a secret's key.
            That time cannot tell two writes within a few seconds apart.
        before: The runtime before a write, where a listing showed it.
        replays: Whether the response is a stream: what it sends before it falls silent
            is the body.
        remembered: Whether the result is the same each time for a token, so that the
            call is sent once and its result is kept.
        refine: Makes a more telling error of an error response.
        ineffective: Says of a successful response's result why the Hub changed nothing;
            None if it did change something, or if that does not happen.
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
    before: SpaceRuntime | None = None
    replays: bool = False
    remembered: bool = False
    refine: Callable[[SpacesError], SpacesError] | None = None
    ineffective: Callable[[T], str | None] | None = None


class FailureClass(enum.Enum):
    """What a failure says about whether the Hub acted."""

    NEVER_SENT = "never sent"
    """No byte of the request went out."""
    REFUSED = "refused"
    """The Hub turned the request away for now: a 429, a 425, a 503 with `Retry-After`."""
    AMBIGUOUS = "ambiguous"
    """The Hub may have acted: the response is lost, or says nothing."""
    NOT_DONE = "not done"
    """The response is lost, but the state shows that nothing happened."""
    APPLIED = "applied"
    """The Hub acted, but its response did not arrive in full."""
    DEFINITE = "definite"
    """The Hub said no, and would say so again."""


@frozen
class Failure:
    """A failed attempt.

    Attributes:
        kind: What it says about whether the Hub acted.
        error: What to raise if there is no further attempt.
        wait: Seconds that the server asks this call to wait; None if it did not say.
    """

    kind: FailureClass
    error: SpacesError
    wait: float | None = None


_NO_CONTENT: Final = frozenset({b"", b"null", b"OK", b"Created", b"Accepted"})
"""Nothing, or the words that the Hub's web framework sends for a bare status."""
_SAYS_ERROR: Final = ("error", "errors")


def nothing(body: bytes) -> None:
    """Decode a response for which the Hub documents no content.

    Raises:
        DecodeError: It is not the Hub's: not empty, not "OK" or the like, and no JSON
            object that could be a result. So a sign-in page does not pass for a success.
    """
    if body.strip() in _NO_CONTENT:
        return
    data = decode_object(body)
    if any(data.get(name) for name in _SAYS_ERROR):
        raise DecodeError("the response says that there was an error")
