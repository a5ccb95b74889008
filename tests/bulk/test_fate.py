"""One Space of a bulk as a state machine, without a Hub: each state, each event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

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
BEFORE: Final[dict[str, State]] = {
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
    """Done is the end, not done clears all doubt, and doubt allows some a repeat."""
    error = lost()
    state = fate.after_look(
        Lost(error, CRASHED if crashed else SENT, unresolved), found, on_lost
    )
    if wanted == "again":
        # What an earlier process sent was no attempt of this one.
        assert name_of(state) == ("fresh" if crashed else "open")
        assert crashed or not error.outcome_unknown
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


class OneSpace(RuleBasedStateMachine):
    """A Space that is sent, looked at, read and ended in any order.

    It keeps its own books of what is true: which copies of the write are in doubt.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State = Fresh()
        self.on_lost = OnLost.REPEAT
        self.doubtful = 0
        self.proof = False
        self.refusals: list[sa.RateLimitError] = []

    @initialize(on_lost=st.sampled_from(OnLost), left=st.sampled_from("ndl"))
    def begin(self, on_lost: OnLost, left: str) -> None:
        """An earlier process left nothing, a doubt to repeat, or one to look up."""
        self.on_lost = on_lost
        if left == "d":
            self.state, self.doubtful = Fresh(unresolved=True), 1
        if left == "l":
            self.state, self.doubtful = Lost(lost(), CRASHED), 1

    def going(self) -> bool:
        return not isinstance(self.state, Finished)

    def may_send(self) -> bool:
        return isinstance(self.state, Fresh | Open)

    @precondition(may_send)
    @rule()
    def send_with_success(self) -> None:
        self.state, self.proof, self.doubtful = fate.done("value"), True, 0

    @precondition(may_send)
    @rule(
        error=st.sampled_from(list(ERRORS)),
        may_retry=st.booleans(),
        may_read=st.booleans(),
        in_container=st.booleans(),
    )
    def send(
        self, error: str, may_retry: bool, may_read: bool, in_container: bool
    ) -> None:
        self.doubtful += error in {"lost", "garbled"}
        self.state = after(
            self.state,
            ERRORS[error](),
            may_retry=may_retry,
            may_read=may_read,
            in_container=in_container,
        )

    @precondition(may_send)
    @rule(attempts=st.integers(0, 1))
    def be_refused(self, attempts: int) -> None:
        self.state = fate.after_refusal(self.state, limited(attempts), self.refusals)

    @precondition(lambda self: isinstance(self.state, Lost))
    @rule(found=st.sampled_from([FOUND, Verdict.NOT_DONE, Verdict.UNKNOWN]))
    def look(self, found: Done[str] | Verdict) -> None:
        assert isinstance(self.state, Lost)
        if isinstance(found, Done):
            self.proof, self.doubtful = True, 0
        elif found is Verdict.NOT_DONE:
            self.doubtful = 0  # The state shows no copy's effect.
        self.state = fate.after_look(self.state, found, self.on_lost)

    @precondition(lambda self: isinstance(self.state, Acted))
    @rule(found=st.sampled_from([FOUND, Verdict.UNKNOWN]))
    def read(self, found: Done[str] | Verdict) -> None:
        assert isinstance(self.state, Acted)
        if isinstance(found, Done):
            self.proof, self.doubtful = True, 0
        self.state = fate.after_read(self.state, found)

    @precondition(going)
    @rule()
    def give_up(self) -> None:
        self.state = fate.given_up(self.state)

    @precondition(going)
    @rule(wrote=st.booleans())
    def cancel(self, wrote: bool) -> None:
        self.doubtful += wrote
        self.state = fate.cancelled(self.state, wrote=wrote)

    @rule()
    def end_twice(self) -> None:
        """What is over stays as it is."""
        if isinstance(self.state, Finished):
            assert fate.given_up(self.state) is self.state
            assert fate.cancelled(self.state, wrote=True) is self.state

    @invariant()
    def nothing_in_doubt_is_forgotten(self) -> None:
        """A copy in doubt ends as unknown, and done has a proof."""
        if not isinstance(self.state, Finished):
            assert fate.is_unresolved(self.state) is (self.doubtful > 0)
            return
        if self.doubtful:
            assert self.state.status is S.UNKNOWN
        if self.state.status is S.DONE:
            assert self.proof
            assert self.state.value == "value"


OneSpace.TestCase.settings = settings(max_examples=200, stateful_step_count=12)
TestAnyOrder = OneSpace.TestCase
