"""Writes that are sent only while a fence allows it: others may take the work over."""

from __future__ import annotations

import asyncio

import pytest

from spaces_async import (
    ClientSettings,
    QuotaWait,
    RequestTimeoutError,
    RetryPolicy,
    SpacesClient,
    Timeouts,
)
from spaces_async._core.shared import collect_stats
from spaces_async.bulk._engine.lease import Lease, LeaseLostError
from spaces_async.bulk._store.protocol import Block
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota

SPACE = "acme/demo"


class Fence:
    """Allows what the test says, and notes what it was asked."""

    def __init__(self, *, longest: float = 30.0, now: bool = True) -> None:
        self.longest = longest
        self.now = now
        self.then = True
        self.asked: list[float] = []

    def require(self, seconds: float) -> None:
        self.asked.append(seconds)
        if not (self.now and self.then):
            raise LeaseLostError

    def lasts(self, until: float) -> bool:
        del until
        self.now = self.then
        return self.now


def writes(hub: FakeHub) -> int:
    return sum(request.method == "POST" for request in hub.requests)


async def test_allowed(client: SpacesClient, hub: FakeHub) -> None:
    """A write goes out while the fence lasts as long as its attempt may take."""
    fence = Fence()
    collect_stats().fence = fence
    await client.lifecycle.pause(SPACE)
    assert fence.asked == [30.0]
    assert writes(hub) == 1


async def test_refused(client: SpacesClient, hub: FakeHub) -> None:
    """Where the fence ends too soon nothing is sent, and reads are not fenced off."""
    stats = collect_stats()
    stats.fence = Fence(now=False)
    with pytest.raises(LeaseLostError):
        await client.lifecycle.pause(SPACE)
    assert not hub.requests
    assert not stats.writes
    assert not stats.in_flight
    await client.lifecycle.get_runtime(SPACE)
    stats.fence = None
    await client.lifecycle.pause(SPACE)
    assert writes(hub) == 1


async def test_over_when_there_is_a_connection(
    client: SpacesClient, hub: FakeHub
) -> None:
    """A fence that ended while a connection was made lets nothing out on it."""
    fence = Fence()
    fence.then = False
    stats = collect_stats()
    stats.fence = fence
    with pytest.raises(LeaseLostError):
        await client.lifecycle.pause(SPACE)
    assert not writes(hub)
    assert not stats.writes
    stats.fence = None
    await client.lifecycle.pause(SPACE)
    assert writes(hub) == 1


async def test_after_a_wait_for_the_quota() -> None:
    """The fence is asked when the quota has opened, not when the call began."""
    async with FakeHub(quota=Quota(2, 2.0)) as hub:
        hub.add_space(SPACE, stage="RUNNING")
        waiting = asyncio.Event()

        def observe(event: object) -> None:
            if isinstance(event, QuotaWait):
                waiting.set()

        settings = ClientSettings(observer=observe)
        async with SpacesClient(
            token=hub.token, endpoint=hub.url, settings=settings
        ) as client:
            await client.lifecycle.get_runtime(SPACE)
            await client.lifecycle.get_runtime(SPACE)
            fence = Fence()
            collect_stats().fence = fence
            pausing = asyncio.create_task(client.lifecycle.pause(SPACE))
            await waiting.wait()
            assert not fence.asked
            fence.now = False
            with pytest.raises(LeaseLostError):
                await pausing
            assert not writes(hub)


async def test_longest(client: SpacesClient, hub: FakeHub) -> None:
    """An attempt takes as long as the fence says at most, whatever the settings are."""
    hub.faults("POST *", Fault.hang(), times=None)
    once = client.with_options(
        timeouts=Timeouts(attempt=None, read=None, total=None),
        retry=RetryPolicy.off(),
    )
    collect_stats().fence = Fence(longest=0.2)
    with pytest.raises(RequestTimeoutError) as caught:
        await once.hardware.set_sleep_time(SPACE, 600)
    assert caught.value.phase == "attempt"


# The lease ------------------------------------------------------------------------


def lease(clock: ManualClock, *, hold: float = 0.0) -> Lease:
    block = Block("1-0", 1, {})
    return Lease(block, clock, asked=clock.monotonic(), seconds=60.0, hold=hold)


def test_a_lease_ends() -> None:
    """It lasts from before it was asked for; one that ends too soon is given up."""
    clock = ManualClock()
    held = lease(clock)
    assert held.longest == 30.0
    held.require(30.0)
    assert held.lasts(60.0)
    assert not held.lasts(60.1)
    clock.advance(30.0)
    held.require(30.0)
    clock.advance(0.1)
    with pytest.raises(LeaseLostError):
        held.require(30.0)
    assert held.lost
    held.renew(clock.monotonic())
    with pytest.raises(LeaseLostError):
        held.require(1.0)


def test_a_lease_is_renewed() -> None:
    """A renewal counts from when it was asked for, and never shortens the lease."""
    clock = ManualClock()
    held = lease(clock)
    clock.advance(50.0)
    asked = clock.monotonic()
    clock.advance(5.0)
    held.renew(asked)
    assert held.until == 110.0
    held.renew(20.0)
    assert held.until == 110.0
    held.require(30.0)


def test_a_stopped_process() -> None:
    """What wakes up after the end of its attempt sends nothing, renewed or not."""
    clock = ManualClock()
    held = lease(clock)
    ends = clock.monotonic() + held.longest
    clock.advance(31.0)
    held.renew(clock.monotonic())
    assert not held.lasts(ends)
    assert held.lasts(clock.monotonic() + held.longest)


def test_hold() -> None:
    """Where Redis may lose its last seconds, a block is begun after them."""
    clock = ManualClock()
    assert lease(clock).begins == 0.0
    assert lease(clock, hold=2.0).begins == 2.0
