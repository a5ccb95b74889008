"""What follows from what is known of a quota: places, company, lost calls."""

from __future__ import annotations

from itertools import count

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from spaces_async._quota.state import (
    FIRST_STEP,
    SUPPOSED,
    WORTH_A_REFUSAL,
    Heard,
    Permit,
    QuotaState,
    SharedUseEstimator,
)
from spaces_async._wire.ratelimit import Quota

WINDOW = 300.0


@define
class Scene:
    """One program and a Hub that counts its calls in one window.

    Attributes:
        left: What the Hub has left in truth.
        refused: How many calls it had to refuse.
        going: Calls that the Hub has not counted yet.
        coming: Answers on their way back, with what they say.
    """

    left: int
    state: QuotaState
    refused: int = 0
    now: float = 0.0
    going: list[Permit] = field(factory=list[Permit])
    coming: list[tuple[Permit, int]] = field(factory=list[tuple[Permit, int]])

    def send(self) -> None:
        if self.state.places(self.now, reserve=0.0) > 0:
            self.going.append(Permit("read", self.now, self.state.take(self.now)))

    def count(self, which: int, *, lose: bool = False) -> None:
        if self.going:
            ticket = self.going.pop(which % len(self.going))
            self.take(1)
            if lose:
                self.settle(ticket, None)
            else:
                self.coming.append((ticket, self.left))

    def never_comes(self, which: int) -> None:
        if self.going:
            self.settle(self.going.pop(which % len(self.going)), None)

    def answer(self, which: int) -> None:
        if self.coming:
            self.settle(*self.coming.pop(which % len(self.coming)))

    def take(self, calls: int) -> None:
        self.refused += max(0, calls - self.left)
        self.left = max(0, self.left - calls)

    def settle(self, ticket: Permit, left: int | None) -> None:
        ticket.ended = self.now
        if left is not None:
            quota = Quota("api", left, WINDOW - self.now, 100, WINDOW)
            ticket.heard = Heard(self.now, quota)
        self.state.settle([ticket])


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
def test_who_is_alone_never_overdraws(
    left: int, strict: bool, moves: list[tuple[str, int]]
) -> None:
    """In whatever order calls and answers overtake each other."""
    scene = Scene(left, QuotaState(company=SharedUseEstimator(strict=strict)))
    play(scene, moves)
    assert scene.refused == 0


@given(st.integers(1, 60), losses)
def test_lost_calls_may_have_been_counted(
    left: int, moves: list[tuple[str, int]]
) -> None:
    """A call without an answer is taken for counted until another answer tells.

    Only the single call that then has to find out may be refused.
    """
    scene = Scene(left, QuotaState(company=SharedUseEstimator()))
    play(scene, moves)
    lost = sum(move == "lose" for move, _ in moves)
    assert scene.refused <= min(lost, 1)


def test_lost_calls_do_not_use_a_window_up() -> None:
    """After an outage without a single answer one call finds out what is left."""
    scene = Scene(100, QuotaState(company=SharedUseEstimator()))
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
        (WORTH_A_REFUSAL - 1, WORTH_A_REFUSAL - 1, 0),
        (WORTH_A_REFUSAL, WORTH_A_REFUSAL, 1),
    ],
)
def test_the_last_calls_are_not_risked(left: int, lost: int, places: int) -> None:
    """A 429 is risked only where it may free more than a few calls.

    Without a place, calls wait for the end of the window: no answer is awaited.
    """
    scene = Scene(left + 1, QuotaState(company=SharedUseEstimator()))
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


def test_a_call_that_was_not_sent_was_not_counted() -> None:
    """It gives its place back, and who is alone is still known to be."""
    scene = Scene(4, QuotaState(company=SharedUseEstimator()))
    play(scene, [("send", 0), ("count", 0), ("answer", 0)])
    for _ in range(9):
        play(scene, [("send", 0)])
        ticket = scene.going.pop()
        ticket.unsent = True
        scene.settle(ticket, None)
    assert scene.state.lost == []
    play(scene, [("send", 0), ("count", 0), ("answer", 0)])
    assert scene.state.company is not None
    assert scene.state.company.alone
    assert scene.state.places(scene.now, reserve=0.0) == 2


def test_those_who_wait_hear_that_a_lost_call_was_not_counted() -> None:
    """An answer shows that more is left than was certain: bulk work need not wait."""
    state = QuotaState(company=SharedUseEstimator())
    numbers = count()

    def call(at: float, left: int | None) -> bool:
        ticket = Permit("read", at, state.take(at), ended=at + 0.1)
        if left is not None:
            quota = Quota("api", left, WINDOW - at, 100, WINDOW)
            ticket.heard = Heard(ticket.ended, quota)
        return state.settle([ticket])

    assert not call(next(numbers), 15)
    for _ in range(5):
        assert not call(next(numbers), None)
    assert state.used_up_until(reserve=0.1) == state.window.ends
    assert call(next(numbers), 14)
    assert state.used_up_until(reserve=0.1) is None


@given(st.integers(0, 7), st.integers(1, 5))
def test_the_company_is_counted(others: int, at_once: int) -> None:
    """With so many others who call as often, the estimate is what it is."""
    scene = Scene(10_000, QuotaState(company=SharedUseEstimator()))
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
    company = scene.state.company
    assert company is not None
    assert company.programs is not None
    assert abs(company.programs - (others + 1)) <= 0.5
    assert company.alone is (others == 0)


def test_who_knows_nothing_is_careful() -> None:
    """Until the company is known, few calls go out, and fewer when little is left."""
    company = SharedUseEstimator()
    assert company.programs is None
    assert company.most_under_way(10_000) == FIRST_STEP
    assert company.most_under_way(4 * SUPPOSED) == 2
    assert company.most_under_way(1) == 1
    assert company.most_under_way(0) == 0
    assert SharedUseEstimator(strict=True).most_under_way(1) == 0


def test_a_pause_makes_careful_again() -> None:
    """Who was alone in the last window they used may have company after a pause."""
    company = SharedUseEstimator()
    for left in range(100, 50, -1):
        company.answered(company.sent(), left)
    company.window_over(busy=True)
    assert company.probes(500) > 1
    company.window_over(busy=False)
    assert company.probes(500) == 1
    assert company.most_under_way(500) == FIRST_STEP


def test_a_call_that_hangs_does_not_hold_up_the_count() -> None:
    """The company is found out also while one call never comes back."""
    company = SharedUseEstimator()
    company.sent()
    left = 500
    for _ in range(60):
        left -= 3
        company.answered(company.sent(), left)
    assert company.programs is not None
    assert company.programs > 2.5
