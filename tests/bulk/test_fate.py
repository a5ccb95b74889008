"""One Space of a bulk as a state machine, without a Hub: each state, each event."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

import pytest
from attrs import evolve, frozen

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async._clock import Clock
from spaces_async._wire.calls import Done, OnLost, Verdict
from spaces_async.bulk._engine import fate
from spaces_async.bulk._engine.fate import (
    Acted,
    Finished,
    Fresh,
    Lost,
    Open,
    Sent,
    State,
)

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
SENT: Final = Sent(AT, 0.0)
CRASHED: Final = Sent(AT)
FOUND: Final = Done("value")


def lost() -> sa.SpacesError:
    error = sa.ConnectionLostError("reset")
    error.outcome_unknown = True
    return error


def refused() -> sa.SpacesError:
    return sa.HubServerError("down", status=503)


def forbidden() -> sa.SpacesError:
    return sa.PermissionDeniedError("no", status=403)


def static() -> sa.SpacesError:
    return sa.BadRequestError("not supported on static Spaces", status=400)


def bad() -> sa.SpacesError:
    return sa.BadRequestError("no", status=400)


def garbled() -> sa.SpacesError:
    return sa.UnexpectedResponseError("no JSON")


def limited(attempts: int = 1) -> sa.RateLimitError:
    return sa.RateLimitError("slow", status=429, attempts=attempts)


ERRORS: Final = {
    "lost": lost,
    "refused": refused,
    "forbidden": forbidden,
    "static": static,
    "bad": bad,
    "garbled": garbled,
}
BEFORE: Final[dict[str, Fresh | Open]] = {
    "fresh": Fresh(),
    "fresh?": Fresh(unresolved=True),
    "open": Open(refused()),
    "open?": Open(lost(), unresolved=True),
}
"""The states that something is sent from; "?" are those with a copy in doubt."""


def name_of(state: State) -> str:
    """Return a state in a word, with "?" where a copy of the write is in doubt."""
    if isinstance(state, Finished):
        return str(state.status)
    doubt = "?" if getattr(state, "unresolved", False) else ""
    return f"{type(state).__name__.lower()}{doubt}"


# The table ------------------------------------------------------------------------

SENDS: Final = {
    # error: what follows from (fresh, fresh?, open, open?)
    "lost": ("lost", "lost?", "lost", "lost?"),
    "refused": ("open", "open?", "open", "open?"),
    "forbidden": ("failed", "unknown", "failed", "unknown"),
    "static": ("skipped", "unknown", "skipped", "unknown"),
    "bad": ("failed", "unknown", "failed", "unknown"),
    "garbled": ("acted", "acted", "acted", "acted"),
}


def after(
    state: State,
    error: sa.SpacesError,
    *,
    may_retry: bool = True,
    may_read: bool = True,
    in_container: bool = True,
) -> State:
    return fate.after_error(
        state,
        error,
        SENT,
        may_retry=may_retry,
        may_read=may_read,
        in_container=in_container,
    )


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("error", SENDS)
def test_a_write_that_raises(error: str, before: str) -> None:
    """What follows depends on the error and on whether a copy is in doubt."""
    wanted = SENDS[error][list(BEFORE).index(before)]
    assert name_of(after(BEFORE[before], ERRORS[error]())) == wanted


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(
    ("error", "wanted"), [("lost", "unknown"), ("refused", "failed")]
)
def test_without_retries_trouble_is_the_end(
    error: str, wanted: str, before: str
) -> None:
    """It is unknown if this copy or an earlier one may have been acted on."""
    state = after(BEFORE[before], ERRORS[error](), may_retry=False)
    assert name_of(state) == ("unknown" if before.endswith("?") else wanted)


@pytest.mark.parametrize("before", BEFORE)
def test_without_reads_a_garbled_response_is_unknown(before: str) -> None:
    """The Hub has acted, and what it answered cannot be found out."""
    assert name_of(after(BEFORE[before], garbled(), may_read=False)) == "unknown"


def test_static_is_said_of_containers_only() -> None:
    """A write that a static Space can have is not skipped, whatever the error says."""
    state = after(Fresh(), static(), in_container=False)
    assert name_of(state) == "failed"
    skipped = after(Fresh(), static())
    assert isinstance(skipped, Finished)
    assert skipped.reason == "static"


@pytest.mark.parametrize("unresolved", [False, True])
@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize(
    ("found", "on_lost", "wanted"),
    [
        (FOUND, OnLost.REPEAT, "done"),
        (FOUND, OnLost.VERIFY_THEN_REPEAT, "done"),
        (FOUND, OnLost.VERIFY, "done"),
        (Verdict.NOT_DONE, OnLost.REPEAT, "again"),
        (Verdict.NOT_DONE, OnLost.VERIFY_THEN_REPEAT, "again"),
        (Verdict.NOT_DONE, OnLost.VERIFY, "again"),
        (Verdict.UNKNOWN, OnLost.REPEAT, "open?"),
        (Verdict.UNKNOWN, OnLost.VERIFY_THEN_REPEAT, "unknown"),
        (Verdict.UNKNOWN, OnLost.VERIFY, "unknown"),
    ],
)
def test_a_look_at_what_a_lost_write_did(
    found: Any, on_lost: OnLost, wanted: str, crashed: bool, unresolved: bool
) -> None:
    """Done is the end, not done tells of this copy only, and doubt allows some a repeat.

    An earlier copy that is in doubt stays so.
    """
    error = lost()
    state = fate.after_look(
        Lost(error, CRASHED if crashed else SENT, unresolved), found, on_lost
    )
    if wanted == "again":
        # What an earlier process sent was no attempt of this one.
        doubt = "?" if unresolved else ""
        assert name_of(state) == ("fresh" if crashed else "open") + doubt
        assert crashed or error.outcome_unknown is unresolved
    else:
        assert name_of(state) == wanted
    if wanted == "done":
        assert isinstance(state, Finished)
        assert (state.value, state.error) == ("value", None)
    if wanted == "unknown":
        assert isinstance(state, Finished)
        assert state.error is error


@pytest.mark.parametrize(
    ("found", "wanted"),
    [(FOUND, "done"), (Verdict.UNKNOWN, "unknown"), (Verdict.NOT_DONE, "unknown")],
)
def test_a_read_of_what_was_acted_on(found: Any, wanted: str) -> None:
    """It is never sent again: the Hub has acted on it."""
    assert name_of(fate.after_read(Acted(garbled(), SENT), found)) == wanted


ALL: Final[dict[str, State]] = {
    **BEFORE,
    "lost": Lost(lost(), SENT),
    "lost?": Lost(lost(), SENT, unresolved=True),
    "acted": Acted(garbled(), SENT),
    "done": fate.done("value"),
    "failed": fate.failed(forbidden()),
    "unknown": fate.failed(lost()),
}
ENDS: Final = {
    # state: given up, cancelled while waiting, cancelled while a write is in flight
    "fresh": ("not_attempted", "not_attempted", "unknown"),
    "fresh?": ("unknown", "unknown", "unknown"),
    "open": ("failed", "not_attempted", "unknown"),
    "open?": ("unknown", "unknown", "unknown"),
    "lost": ("unknown", "unknown", "unknown"),
    "lost?": ("unknown", "unknown", "unknown"),
    "acted": ("unknown", "unknown", "unknown"),
    "done": ("done", "done", "done"),
    "failed": ("failed", "failed", "failed"),
    "unknown": ("unknown", "unknown", "unknown"),
}


@pytest.mark.parametrize("state", ENDS)
def test_an_end_from_outside(state: str) -> None:
    """What ends a Space from outside says no more than is known of its writes."""
    ends = (
        fate.given_up(ALL[state]),
        fate.cancelled(ALL[state], wrote=False),
        fate.cancelled(ALL[state], wrote=True),
    )
    assert tuple(map(name_of, ends)) == ENDS[state]
    assert ENDS.keys() == ALL.keys()
    doubtful = {"fresh?", "open?", "lost", "lost?", "acted"}
    assert fate.is_unresolved(ALL[state]) is (state in doubtful)


@pytest.mark.parametrize("before", BEFORE)
def test_refusals_for_the_quota(before: str) -> None:
    """They change nothing until there are too many; then the last one is the end."""
    state, refusals = BEFORE[before], list[sa.RateLimitError]()
    for _ in range(20):
        assert fate.after_refusal(state, limited(), refusals) is state
    end = fate.after_refusal(state, limited(), refusals)
    assert name_of(end) == ("unknown" if before.endswith("?") else "failed")


def test_a_refusal_of_the_governor() -> None:
    """Nothing was sent, so the Hub's own refusal says more, where there is one."""
    own = limited(attempts=0)
    own.retry_after = 99.0
    alone = fate.after_refusal(Fresh(), own, [])
    assert isinstance(alone, Finished)
    assert alone.error is own
    of_the_hub = limited()
    end = fate.after_refusal(Fresh(), own, [of_the_hub])
    assert isinstance(end, Finished)
    assert end.error is of_the_hub
    assert of_the_hub.retry_after == 99.0


class StoppedClock(Clock):
    def monotonic(self) -> float:
        return 50.0

    def utcnow(self) -> datetime:
        return AT


@pytest.mark.parametrize(
    ("sent", "age"),
    [
        (Sent(AT, 20.0), 30.0),
        (Sent(AT.replace(year=2025)), 365 * 86_400.0),
        (Sent(AT.replace(year=2027)), float("inf")),
    ],
)
def test_how_old_a_write_is(sent: Sent, age: float) -> None:
    """After a crash the wall clock tells; one from the future may be of any age."""
    assert sent.age(StoppedClock()) == age


# Any order of events ----------------------------------------------------------------


NO_YES: Final = (False, True)


@frozen
class Situation:
    """A Space after some events, and what is known of its writes by a count of our own.

    Attributes:
        state: Where the machine is.
        doubtful: Whether a copy of the write may have been acted on, and that is not
            known.
        proven: Whether a response or the state has shown that it took effect.
    """

    state: State
    doubtful: bool = False
    proven: bool = False

    @property
    def key(self) -> tuple[Any, ...]:
        """What the next events depend on."""
        crashed = isinstance(self.state, Lost) and self.state.sent.crashed
        return name_of(self.state), crashed, self.doubtful, self.proven


def successors(situation: Situation, on_lost: OnLost) -> Iterator[Situation]:
    """Yield the situation after each possible event."""
    state = situation.state
    match state:
        case Finished():
            yield evolve(situation, state=fate.given_up(state))
            yield evolve(situation, state=fate.cancelled(state, wrote=True))
            return
        case Fresh() | Open():
            yield Situation(fate.done("value"), proven=True)
            choices = product(ERRORS, NO_YES, NO_YES, NO_YES)
            for error, may_retry, may_read, in_container in choices:
                doubtful = situation.doubtful or error in {"lost", "garbled"}
                end = after(
                    state,
                    ERRORS[error](),
                    may_retry=may_retry,
                    may_read=may_read,
                    in_container=in_container,
                )
                yield Situation(end, doubtful)
            for attempts, before in product((0, 1), (0, 1, 20)):
                refusals = [limited() for _ in range(before)]
                refused = fate.after_refusal(state, limited(attempts), refusals)
                yield evolve(situation, state=refused)
        case Lost():
            looks = (FOUND, Verdict.NOT_DONE, Verdict.UNKNOWN)
            for found in looks:
                end = fate.after_look(state, found, on_lost)
                # What shows that this copy had no effect need not tell of earlier ones:
                # a secret's `updatedAt` is compared with the time of this one.
                earlier = found is Verdict.NOT_DONE and state.unresolved
                doubtful = found is Verdict.UNKNOWN or earlier
                yield Situation(end, doubtful, found is FOUND)
        case Acted():
            yield Situation(fate.after_read(state, FOUND), proven=True)
            yield Situation(fate.after_read(state, Verdict.UNKNOWN), doubtful=True)
    yield evolve(situation, state=fate.given_up(state))
    for wrote in (False, True):
        cancelled = fate.cancelled(state, wrote=wrote)
        yield Situation(cancelled, situation.doubtful or wrote)


@pytest.mark.parametrize("on_lost", OnLost)
def test_in_any_order_of_events_nothing_in_doubt_is_forgotten(on_lost: OnLost) -> None:
    """A copy in doubt ends as unknown, and what ends as done has a proof and a value.

    All sequences of events of any length are covered: a situation that was visited
    before has the same successors as then.
    """
    open_situations = [
        Situation(Fresh()),
        Situation(Fresh(unresolved=True), doubtful=True),
        Situation(Lost(lost(), CRASHED), doubtful=True),
    ]
    visited = {situation.key for situation in open_situations}
    while open_situations:
        situation = open_situations.pop()
        state = situation.state
        if isinstance(state, Finished):
            if situation.doubtful:
                assert state.status is S.UNKNOWN, situation
            else:
                assert state.status is not S.UNKNOWN, situation
            if state.status is S.DONE:
                assert situation.proven, situation
                assert state.value == "value"
            else:
                assert state.value is None
        else:
            assert fate.is_unresolved(state) is situation.doubtful, situation
        for following in successors(situation, on_lost):
            if following.key not in visited:
                visited.add(following.key)
                open_situations.append(following)
    ends = {"done", "failed", "unknown", "skipped", "not_attempted"}
    assert {name for name, *_ in visited} == {
        "fresh", "fresh?", "open", "open?", "lost", "lost?", "acted", *ends
    }  # fmt: skip
