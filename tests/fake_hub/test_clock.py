"""ManualClock: time that a test turns."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import async_solipsism  # type: ignore[import-untyped]
import pytest

from spaces_async._clock import Clock
from spaces_async.testing import ManualClock


def test_it_stands_still_without_a_loop() -> None:
    """The time can be read where no loop runs, and only advance moves it."""
    start = datetime(2030, 1, 1, tzinfo=UTC)
    clock = ManualClock(start)
    assert (clock.monotonic(), clock.utcnow()) == (0.0, start)
    clock.advance(1.5)
    assert clock.monotonic() == 1.5
    assert clock.utcnow() == start + timedelta(seconds=1.5)
    with pytest.raises(ValueError, match="seconds must be at least 0, not -1"):
        clock.advance(-1)


async def test_sleepers_wake_by_deadline() -> None:
    """Who is due first runs first, whoever went to sleep first."""
    clock, woken = ManualClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0, 0.0):
            group.create_task(sleeper(seconds))
        await clock.wait_for_sleepers(3)
        clock.advance(0.5)
        await asyncio.sleep(0)
        assert (woken, clock.sleeping) == ([0.0], 3)
        clock.advance(10)
    assert woken == [0.0, 1.0, 2.0, 3.0]
    assert clock.slept == [3.0, 1.0, 2.0, 0.0]


@pytest.mark.parametrize("auto", [False, True])
@pytest.mark.parametrize("turns", range(4))
async def test_a_cancelled_sleeper_leaves_nothing(*, auto: bool, turns: int) -> None:
    """Wherever it is cancelled, no timer stays behind, and the clock still works."""
    clock = ManualClock(auto=auto)
    forever: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(clock.sleep(5))
            group.create_task(clock.wait_for(forever, 5))

    task = asyncio.create_task(both())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert clock.sleeping == 0
    clock.advance(10)
    assert not forever.done()


async def test_auto_goes_from_deadline_to_deadline() -> None:
    """A long sleep passes over no shorter one, not even one that begins on the way."""
    clock, seen = ManualClock(auto=True), []

    async def ticker() -> None:
        for _ in range(3):
            await clock.sleep(2)
            seen.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        group.create_task(clock.sleep(10))
        group.create_task(ticker())
    assert seen == [2.0, 4.0, 6.0]
    assert clock.monotonic() == 10.0


async def test_auto_wait_lets_the_waiter_win() -> None:
    """A future that is about to be done beats the limit, and no time passes."""
    clock = ManualClock(auto=True)
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def finish() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        waiter.set_result(None)

    async with asyncio.TaskGroup() as group:
        group.create_task(finish())
        await clock.wait_for(waiter, 60)
    assert waiter.done()
    assert (clock.monotonic(), clock.sleeping) == (0.0, 0)


async def test_auto_wait_ends_at_its_limit() -> None:
    """A future that nobody sets is given up after the limit and stays uncancelled."""
    clock = ManualClock(auto=True)
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await clock.wait_for(waiter, 60)
    assert clock.monotonic() == 60.0
    assert not waiter.done()
    assert clock.waited == [60]


async def test_manual_wait() -> None:
    """Without auto, a wait ends with the future, or when the clock was turned."""
    clock = ManualClock()
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(clock.wait_for(waiter, 5))
    await clock.wait_for_sleepers()
    clock.advance(5)
    await task
    task = asyncio.create_task(clock.wait_for(waiter, None))
    await asyncio.sleep(0)
    waiter.set_result(None)
    await task
    await clock.wait_for(waiter, 5)
    assert clock.sleeping == 0


def test_a_wait_in_virtual_time_is_over_when_it_says_so() -> None:
    """A deadline between two ticks of a virtual clock is reached with one wait.

    Such a clock stands still while somebody waits for less than a tick, over and over.
    """

    async def run() -> None:
        clock = Clock()
        never = asyncio.get_running_loop().create_future()
        for part in range(10):
            deadline = clock.monotonic() + 0.5 + part * 1e-7
            await clock.wait_for(never, deadline - clock.monotonic())
            assert clock.monotonic() >= deadline

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(run())
