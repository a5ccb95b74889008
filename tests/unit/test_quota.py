"""What follows from what is known about a quota: places, shared use, lost requests."""

from __future__ import annotations

from itertools import count

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from spaces_async._quota.shared_use import (
    ASSUMED_PROGRAMS,
    SLOW_START_CALLS,
    SharedUseEstimator,
)
from spaces_async._quota.state import (
    CALLS_WORTH_A_429,
    Permit,
    QuotaReport,
    QuotaState,
)
from spaces_async._wire.ratelimit import Quota

WINDOW = 300.0


@define
class Scene:
    """One program and a Hub that counts its calls in one window.

    Attributes:
        left: What the Hub really has left.
        refused: Requests that the Hub refused.
        going: Permits of requests that the Hub has not counted yet.
        coming: Permits of requests whose response is on its way, and its `left`.
    """

    left: int
    state: QuotaState
    refused: int = 0
    now: float = 0.0
    going: list[Permit] = field(factory=list[Permit])
    coming: list[tuple[Permit, int]] = field(factory=list[tuple[Permit, int]])

    def send(self) -> None:
        if self.state.places(self.now, reserve=0.0) > 0:
            self.going.append(Permit("read", self.now, self.state.take_place(self.now)))

    def count(self, which: int, *, lose: bool = False) -> None:
        if self.going:
            permit = self.going.pop(which % len(self.going))
            self.take(1)
            if lose:
                self.settle(permit, None)
            else:
                self.coming.append((permit, self.left))

    def never_comes(self, which: int) -> None:
        if self.going:
            self.settle(self.going.pop(which % len(self.going)), None)

    def answer(self, which: int) -> None:
        if self.coming:
            self.settle(*self.coming.pop(which % len(self.coming)))

    def take(self, calls: int) -> None:
        self.refused += max(0, calls - self.left)
        self.left = max(0, self.left - calls)

    def settle(self, permit: Permit, left: int | None) -> None:
        if left is not None:
            quota = Quota("api", left, WINDOW - self.now, 100, WINDOW)
            permit.report = QuotaReport(self.now, quota)
        self.state.settle([permit])


steps = st.lists(
    st.tuples(st.sampled_from(["send", "send", "count", "answer"]), st.integers(0, 99)),
    max_size=300,
)
losses = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "count", "answer", "lose", "never"]),
        st.integers(0, 99),
    ),
    max_size=300,
)


def play(scene: Scene, moves: list[tuple[str, int]]) -> None:
    for move, which in moves:
        scene.now += 0.01
        if move == "send":
            scene.send()
        elif move == "answer":
            scene.answer(which)
        elif move == "never":
            scene.never_comes(which)
        else:
            scene.count(which, lose=move == "lose")


@given(st.integers(1, 60), st.booleans(), steps)
def test_a_program_that_is_alone_is_never_refused(
    left: int, strict: bool, moves: list[tuple[str, int]]
) -> None:
    """Requests and responses may overtake each other in any order."""
    scene = Scene(left, QuotaState(shared_use=SharedUseEstimator(strict=strict)))
    play(scene, moves)
    assert scene.refused == 0


@given(st.integers(1, 60), losses)
def test_lost_requests_may_have_been_counted(
    left: int, moves: list[tuple[str, int]]
) -> None:
    """A request without a response is subtracted until a later response tells.

    Only the single request that is sent to find out may be refused.
    """
    scene = Scene(left, QuotaState(shared_use=SharedUseEstimator()))
    play(scene, moves)
    lost = sum(move == "lose" for move, _ in moves)
    assert scene.refused <= min(lost, 1)


def test_what_was_lost_on_the_way_stays_in_doubt_until_a_later_request() -> None:
    """Responses to requests that were in flight with it may have been counted before.

    On a coarse clock all of that is one instant: the order is kept without a clock.
    """
    scene = Scene(8, QuotaState(shared_use=SharedUseEstimator()))
    for _ in range(4):
        scene.send()
        scene.count(0)
        scene.answer(0)
    for _ in range(3):
        scene.send()
    scene.count(0)
    scene.count(0)
    scene.count(0, lose=True)
    scene.answer(0)
    scene.answer(0)
    state = scene.state
    assert (scene.left, state.left, state.lost) == (1, 2, [7])
    assert state.places(scene.now, reserve=0.0) == 1
    scene.send()
    scene.count(0)
    scene.answer(0)
    assert (scene.left, state.left, state.lost) == (0, 0, [])
    assert scene.refused == 0


def test_lost_requests_do_not_use_a_window_up() -> None:
    """After an outage without any response, one request finds out what is left."""
    scene = Scene(100, QuotaState(shared_use=SharedUseEstimator()))
    play(scene, [("send", 0), ("count", 0), ("answer", 0)])
    for _ in range(200):
        play(scene, [("send", 0), ("never", 0)])
    assert scene.state.places(scene.now, reserve=0.0) >= 1
    play(scene, [("send", 0), ("count", 0), ("answer", 0)])
    assert scene.state.places(scene.now, reserve=0.0) >= 8


@pytest.mark.parametrize(
    ("left", "lost", "places"),
    [
        (1, 1, 0),
        (5, 4, 1),
        (5, 5, 0),
        (CALLS_WORTH_A_429 - 1, CALLS_WORTH_A_429 - 1, 0),
        (CALLS_WORTH_A_429, CALLS_WORTH_A_429, 1),
    ],
)
def test_the_last_calls_are_not_risked(left: int, lost: int, places: int) -> None:
    """A 429 is risked only where the response may free more than a few calls.

    Without a place, calls sleep until the window ends: no response is awaited.
    """
    scene = Scene(left + 1, QuotaState(shared_use=SharedUseEstimator()))
    play(scene, [("send", 0), ("count", 0), ("answer", 0)])
    for _ in range(lost):
        play(scene, [("send", 0), ("count", 0)])
        scene.settle(scene.coming.pop()[0], None)
    state = scene.state
    assert state.window.left == left
    assert len(state.lost) == lost
    assert state.places(scene.now, reserve=0.0) == places
    ends = None if places else state.window.ends
    assert state.used_up_until(reserve=0.0) == ends
    assert scene.refused == 0


def test_a_request_that_was_not_sent_was_not_counted() -> None:
    """Its place is free again, and the program still knows that it is alone."""
    scene = Scene(4, QuotaState(shared_use=SharedUseEstimator()))
    play(scene, [("send", 0), ("count", 0), ("answer", 0)])
    for _ in range(9):
        play(scene, [("send", 0)])
        permit = scene.going.pop()
        permit.is_unsent = True
        scene.settle(permit, None)
    assert scene.state.lost == []
    play(scene, [("send", 0), ("count", 0), ("answer", 0)])
    assert scene.state.shared_use is not None
    assert scene.state.shared_use.is_alone
    assert scene.state.places(scene.now, reserve=0.0) == 2


def test_waiting_calls_are_woken_when_lost_requests_were_not_counted() -> None:
    """A response shows that more is left than was certain: bulk work need not wait."""
    state = QuotaState(shared_use=SharedUseEstimator())
    numbers = count()

    def call(at: float, left: int | None) -> bool:
        permit = Permit("read", at, state.take_place(at))
        if left is not None:
            quota = Quota("api", left, WINDOW - at, 100, WINDOW)
            permit.report = QuotaReport(at + 0.1, quota)
        return state.settle([permit])

    assert not call(next(numbers), 15)
    for _ in range(5):
        assert not call(next(numbers), None)
    assert state.used_up_until(reserve=0.1) == state.window.ends
    assert call(next(numbers), 14)
    assert state.used_up_until(reserve=0.1) is None


@given(st.integers(0, 7), st.integers(1, 5))
def test_the_number_of_programs_is_estimated(others: int, at_once: int) -> None:
    """With that many others that send as often, the estimate is right within 0.5."""
    scene = Scene(10_000, QuotaState(shared_use=SharedUseEstimator()))
    for _ in range(40):
        sent = 0
        while sent < at_once and scene.state.places(scene.now, reserve=0.0) > 0:
            play(scene, [("send", 0)])
            sent += 1
        for _ in range(sent):
            play(scene, [("count", 0)])
            scene.take(others)
        for _ in range(sent):
            play(scene, [("answer", 0)])
    estimator = scene.state.shared_use
    assert estimator is not None
    assert estimator.programs is not None
    assert abs(estimator.programs - (others + 1)) <= 0.5
    assert estimator.is_alone is (others == 0)


def test_the_worked_example() -> None:
    """What the module's docstring says of a round, with its numbers."""
    estimator = SharedUseEstimator()
    estimator.request_sent(1)
    estimator.request_sent(2)
    estimator.response_received(1, 98)
    estimator.request_sent(3)
    estimator.response_received(2, 96)
    while_the_round_waits = estimator.programs
    estimator.response_received(3, 94)
    assert (while_the_round_waits, estimator.programs) == (None, 2)
    assert not estimator.is_alone


def test_the_worked_example_of_the_guide() -> None:
    """What docs/pacing.md says of two rounds: (3 x 0.875 + 11) / (0.875 + 4)."""
    estimator = SharedUseEstimator()
    for number in range(4):
        estimator.request_sent(number)
    estimator.response_received(0, 499)
    for number in range(4, 6):
        estimator.request_sent(number)
    for number, left in enumerate((496, 494, 491, 488), 1):
        estimator.response_received(number, left)
        assert estimator.programs is None
    estimator.response_received(5, 485)
    assert estimator.programs == pytest.approx(2.8, abs=0.1)


def test_a_program_that_knows_nothing_is_careful() -> None:
    """Before the first round few requests go out, and fewer when little is left."""
    estimator = SharedUseEstimator()
    assert estimator.programs is None
    assert estimator.max_in_flight(10_000) == SLOW_START_CALLS
    assert estimator.max_in_flight(4 * ASSUMED_PROGRAMS) == 2
    assert estimator.max_in_flight(1) == 1
    assert estimator.max_in_flight(0) == 0
    assert SharedUseEstimator(strict=True).max_in_flight(1) == 0


def test_a_pause_makes_careful_again() -> None:
    """A program that was alone may not be alone any more after a pause."""
    estimator = SharedUseEstimator()
    for left in range(100, 50, -1):
        estimator.request_sent(left)
        estimator.response_received(left, left)
    estimator.window_ended(busy=True)
    assert estimator.max_probes(500) > 1
    estimator.window_ended(busy=False)
    assert estimator.max_probes(500) == 1
    assert estimator.max_in_flight(500) == SLOW_START_CALLS


def test_a_request_that_hangs_does_not_hold_up_a_round() -> None:
    """Other programs are noticed although one request never gets a response."""
    estimator = SharedUseEstimator()
    estimator.request_sent(0)
    left = 500
    for number in range(1, 61):
        left -= 3
        estimator.request_sent(number)
        estimator.response_received(number, left)
    assert estimator.programs is not None
    assert estimator.programs > 2.5
