"""The rules by which a host takes calls from a pool, gives them back, and looks again."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spaces_async._quota.blocks import (
    BLOCK_SECONDS,
    LATE_SECONDS,
    MAX_BLOCK_CALLS,
    Answer,
    Ask,
    Block,
    block_size,
)
from spaces_async._quota.ledger import Demand
from spaces_async._quota.state import Permit, QuotaReport
from spaces_async._wire.ratelimit import Quota

IDLE = Demand(0, 0, 0, 0.0)
ONE = Demand(1, 0, 0, 0.0)
MANY = Demand(40, 0, 0, 0.0)
PLENTY = Answer(7, 0, 400, 100.0, 500, 0.0, False, False, 2, 0, {})


def wire(answer: Answer) -> list[Any]:
    """The answer as the script gives it."""
    parts: list[Any] = [
        answer.window,
        answer.granted,
        -1 if answer.rest is None else answer.rest,
        -1 if answer.ends_in is None else round(answer.ends_in * 1000),
        -1 if answer.limit is None else answer.limit,
        round(answer.idle * 1000),
        int(answer.careful),
        int(answer.damaged),
        answer.hosts,
        answer.claims,
    ]
    return parts + [
        part for name, s in answer.holds.items() for part in (name, round(s * 1000))
    ]


def granted(block: Block, demand: Demand, count: int, now: float = 0.0) -> Ask:
    """Ask, and take in an answer that grants so many calls."""
    asked = block.ask(demand, now)
    block.note(evolve(PLENTY, granted=count), now)
    return asked


def spend(block: Block, count: int) -> list[Permit]:
    permits = []
    for _ in range(count):
        assert block.places(0.0, reserve=0.0) > 0
        permits.append(Permit("restart", 0.0, 0, ledger_number=block.take_place(0.0)))
    return permits


def test_an_answer_is_read_as_it_was_given() -> None:
    """All fields arrive, in seconds, and -1 is None."""
    asked = Block().ask(MANY, 0.0)
    full = evolve(PLENTY, granted=3, holds={"restart": 4.5, "": 1.0}, careful=True)
    assert Answer.read(wire(full), asked) == full
    empty = Answer(7, 0, None, None, None, 0.0, False, True, 0, 0, {})
    assert Answer.read(wire(empty), asked) == empty


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("value", [None, "x", -2, 10**30, 1.5, [1], b"1"])
def test_no_number_of_an_answer_is_taken_on_trust(place: int, value: Any) -> None:
    """What the script cannot have answered is refused."""
    asked = Block().ask(MANY, 0.0)
    values = wire(PLENTY)
    values[place] = value
    with pytest.raises(ValueError, match="not a number"):
        Answer.read(values, asked)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        "OK",
        [1, 2, 3],
        [*wire(PLENTY), "restart"],
        [*wire(PLENTY), "x\n", 5],
        [*wire(PLENTY), "x" * 65, 5],
        [*wire(PLENTY), 3, 5],
        [*wire(PLENTY), "restart", 10**12],
        [*wire(PLENTY), *(["a", 1] * 33)],
        wire(evolve(PLENTY, ends_in=None)),
        wire(evolve(PLENTY, granted=MAX_BLOCK_CALLS + 1)),
    ],
)
def test_no_answer_is_taken_on_trust(values: Any) -> None:
    """Half a window, more calls than were asked for, odd holds: all are refused."""
    with pytest.raises(ValueError, match=r"not|half"):
        Answer.read(values, Block().ask(MANY, 0.0))


@given(
    st.lists(st.one_of(st.none(), st.integers(), st.floats(), st.text()), max_size=16)
)
def test_no_answer_crashes_the_client(values: list[Any]) -> None:
    """Whatever Redis says is an answer or a ValueError."""
    with contextlib.suppress(ValueError):
        Answer.read(values, Block().ask(MANY, 0.0))


@pytest.mark.parametrize(
    ("rest", "most"),
    [
        *((None, 16), (10**6, 16), (128, 16), (127, 15), (64, 8)),
        *((31, 4), (8, 4), (7, 3), (3, 1), (1, 1), (0, 1)),
    ],
)
def test_a_block_shrinks_with_the_rest(rest: int | None, most: int) -> None:
    """It is an eighth of the rest, or four calls if that is not above half; 16 at most."""
    assert block_size(rest) == most


def test_what_is_asked_for() -> None:
    """As much as waits, up to a block; nothing while there is something to spend."""
    block = Block()
    asked = block.ask(MANY, 0.0)
    assert (asked.calls, asked.bulk, asked.window) == (16, 0, 0)
    block.note(evolve(PLENTY, granted=16), 0.0)
    assert not block.can_ask(MANY)
    asked = block.ask(MANY, 0.0)
    assert (asked.calls, asked.unspent, asked.window) == (0, 16, 7)


def test_a_busy_host_asks_before_the_last_call_is_spent() -> None:
    """With plenty left, when a quarter of the block remains; never at the end of a window."""
    block = Block()
    granted(block, MANY, 16)
    spend(block, 11)
    assert not block.can_ask(IDLE)
    spend(block, 1)
    assert block.can_ask(IDLE)
    assert block.ask(IDLE, 0.0).calls == 16
    block.note(evolve(PLENTY, granted=4, rest=90), 0.0)
    spend(block, 7)
    assert not block.can_ask(IDLE)


def test_blocks_grow_with_the_pace() -> None:
    """Single calls in quick succession get 1, 2, 4, 8, 16 at once; after a pause, fewer."""
    block = Block()
    sizes = []
    for _ in range(6):
        asked = block.ask(ONE, 0.0)
        sizes.append(asked.calls)
        block.note(evolve(PLENTY, granted=asked.calls), 0.0)
        spend(block, asked.calls)
    assert sizes == [1, 2, 4, 8, 16, 16]
    block.note(evolve(PLENTY, granted=10), 0.0)
    spend(block, 3)
    assert block.give_back()
    assert granted(block, ONE, 1).calls == 3


def test_bulk_work_asks_for_itself() -> None:
    """Calls come first; what is asked for besides is for bulk work, if only that waits."""
    asked = Block().ask(Demand(5, 40, 3, 0.25), 0.0)
    assert (asked.calls, asked.bulk, asked.in_flight, asked.reserve) == (5, 11, 3, 0.25)
    asked = Block().ask(Demand(0, 4, 0, 0.25), 0.0)
    assert (asked.calls, asked.bulk) == (0, 4)


def test_the_reserve_is_kept_from_bulk_work() -> None:
    """A block that is there serves bulk work only above the reserve."""
    block = Block()
    granted(block, MANY, 4)
    block.rest = 47
    assert block.places(0.0, reserve=0.1) == 1
    assert block.places(0.0, reserve=0.0) == 4
    block.unspent, block.rest, block.is_final = 0, 50, True
    assert block.used_up_until(reserve=0.1) == 100.0
    assert block.used_up_until(reserve=0.0) is None


def test_the_end_of_a_window_voids_everything() -> None:
    """Neither what is unspent nor what was given back is told in the next window."""
    block = Block()
    granted(block, MANY, 16)
    permits = spend(block, 2)
    block.give_back()
    block.forget_what_ended(100.0, busy=True)
    assert block.places(100.0, reserve=0.0) == 0
    permits[0].is_unsent = True
    block.settle(permits)
    assert block.unspent == 0
    asked = block.ask(MANY, 100.0)
    assert (asked.window, asked.unspent, asked.returned, asked.left) == (0, 0, 0, None)


def test_another_window_voids_a_block() -> None:
    """A pool that has begun a window anew has granted nothing of it yet."""
    block = Block()
    granted(block, MANY, 16)
    block.ask(MANY, 1.0)
    block.note(evolve(PLENTY, window=8, granted=1), 1.0)
    assert (block.window, block.unspent) == (8, 1)


def test_a_lost_answer_is_asked_for_again() -> None:
    """The exchange is repeated with its number, so that nothing is taken twice."""
    block = Block()
    asked = block.ask(MANY, 0.0)
    assert block.ask(IDLE, 5.0) == asked
    block.note(evolve(PLENTY, granted=3), 5.0)
    assert block.unspent == 3
    assert block.ask(IDLE, 5.0).number == asked.number + 1


def test_what_is_told_late_is_told_as_it_is_then() -> None:
    """Seconds that have passed while Redis was away are not waited for once more."""
    block = Block()
    granted(block, MANY, 16)
    (permit,) = spend(block, 1)
    permit.report = QuotaReport(1.0, used_up_until=41.0)
    block.settle([permit])
    block.holds = {"restart": 11.0, "": 31.0}
    asked = block.ask(MANY, 1.0)
    assert asked.used_up_in == 40.0
    assert asked.holds == {"restart": 10.0, "": 30.0}
    late = block.ask(MANY, 21.0)
    assert (late.number, late.used_up_in, late.holds) == (
        asked.number,
        20.0,
        {"": 10.0},
    )
    assert block.ask(MANY, 31.0).holds == {}
    later = block.ask(MANY, 61.0)
    assert (later.number, later.used_up_in) == (asked.number, None)


def test_what_is_told_after_redis_was_away() -> None:
    """The block goes back, and the pool hears that requests went out without it."""
    block = Block()
    granted(block, MANY, 16)
    spend(block, 6)
    block.part()
    assert block.places(0.0, reserve=0.0) == 0
    asked = block.ask(Demand(0, 0, 4, 0.0), 1.0)
    assert (asked.returned, asked.unspent, asked.in_flight) == (10, 0, 4)
    assert asked.rejoins
    block.note(PLENTY, 1.0)
    assert not block.ask(IDLE, 1.0).rejoins


def test_responses_are_told() -> None:
    """The least that is left, the nearest end, a 429 and a hold reach the pool."""
    block = Block()
    granted(block, MANY, 16)
    permits = spend(block, 4)
    for permit, left in zip(permits[:2], (380, 395), strict=True):
        permit.report = QuotaReport(1.0, Quota("api", left, 98.0, 500, 300.0))
    permits[2].report = QuotaReport(2.0, used_up_until=60.0)
    permits[3].report = QuotaReport(2.0, None, hold=("restart", 50.0))
    block.settle(permits)
    assert block.reports
    asked = block.ask(IDLE, 10.0)
    assert (asked.left, asked.ends_in, asked.limit) == (380, 90.0, 500)
    assert (asked.used_up_in, asked.holds) == (50.0, {"restart": 40.0})
    assert asked.returned == 12
    assert block.held_until("restart") == 50.0
    assert block.held_until("pause") is None
    block.forget_what_ended(50.0, busy=False)
    assert block.held_until("restart") is None


def test_a_request_that_was_not_sent_gives_its_call_back() -> None:
    """It is there for the next one."""
    block = Block()
    granted(block, MANY, 1)
    (permit,) = spend(block, 1)
    permit.is_unsent = True
    block.settle([permit])
    assert block.unspent == 1


@pytest.mark.parametrize("idle", [0.0, 1.0, 5.0])
def test_a_host_waits_for_what_others_give_back(idle: float) -> None:
    """The window is used up when no block can come back to the pool any more."""
    block = Block()
    block.ask(MANY, 0.0)
    block.note(evolve(PLENTY, rest=0, idle=idle), 0.0)
    is_final = idle >= BLOCK_SECONDS + LATE_SECONDS
    assert block.used_up_until(reserve=0.0) == (100.0 if is_final else None)
    if not is_final:
        assert block.next_look(MANY, idle) + idle >= BLOCK_SECONDS + LATE_SECONDS


def test_looks_become_rare() -> None:
    """Whoever waits for a probe looks each second, after a lost host each 15 s."""
    block = Block()
    waits = []
    for rest in (None, 400):
        block = Block()
        for _ in range(9):
            block.ask(MANY, 0.0)
            block.note(evolve(PLENTY, rest=rest, ends_in=rest and 100.0), 0.0)
        waits.append(block.next_look(MANY, 9.0))
    assert waits == [1.0, 15.0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["ask", "spend", "answer", "unsent", "back", "part", "lose"]
            ),
            st.integers(0, 20),
        ),
        max_size=60,
    )
)
def test_no_call_is_spent_that_was_not_granted(steps: list[tuple[str, int]]) -> None:
    """In one window: granted = spent + unspent + given back, whatever happens in between."""
    block = Block()
    got = spent = given = 0
    sent: list[Permit] = []
    asked: Ask | None = None
    for step, count in steps:
        match step:
            case "ask":
                asked = block.ask(Demand(count, count // 3, len(sent), 0.0), 0.0)
                assert asked.calls + asked.bulk <= MAX_BLOCK_CALLS
            case "answer" if asked is not None:
                number = min(count, asked.calls + asked.bulk)
                block.note(evolve(PLENTY, granted=number), 0.0)
                got, given, asked = got + number, given + asked.returned, None
            case "spend":
                permits = spend(block, min(count, block.unspent))
                sent, spent = sent + permits, spent + len(permits)
            case "unsent" if sent and block.window:
                permit = sent.pop()
                permit.is_unsent = True
                block.settle([permit])
                spent -= 1
            case "lose" if sent:
                block.settle([sent.pop()])
            case "back":
                block.give_back()
            case "part":
                block.part()
                asked = asked and evolve(asked, rejoins=True)
            case _:
                pass  # there is nothing to do it with
        waiting = block._returned + (asked.returned if asked else 0)
        assert got == spent + block.unspent + given + waiting
