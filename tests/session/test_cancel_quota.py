"""Cancelling calls that wait for the quota: the others go out, and none too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support.cut import (
    HOWS,
    MOST_TURNS,
    Cut,
    governor_opens,
    nothing_is_left,
    turn,
)
from tests.support.virtual import play

WAITERS = 4


@asynccontextmanager
async def hub_and_client(
    quota: Quota,
) -> AsyncGenerator[tuple[FakeHub, sa.SpacesClient], None]:
    """A Hub with that quota, and a client of it."""
    async with FakeHub(quota=quota, build_seconds=10**9) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo", stage="PAUSED")
        async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
            yield hub, client


async def among(
    others: list[asyncio.Task[Any]], do: Any, how: str, turns: int, place: int
) -> bool:
    """Cut a call that waits among others at this place; whether it was over before."""
    made: Cut | None = None
    for number in range(WAITERS):
        if number == place:
            made = Cut(do, how)
        others.append(asyncio.create_task(do()))
    made = made or Cut(do, how)
    for _ in range(turns):
        if made.task.done():
            break
        await turn()
    over = made.task.done()
    if not over:
        await made.end()
    await asyncio.wait([*others, made.task])
    return over


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("place", [0, 2, WAITERS])
def test_a_window_that_is_used_up(
    monkeypatch: pytest.MonkeyPatch, how: str, place: int
) -> None:
    """Whichever waiter is cut, and when: the others get responses in the next window.

    No call goes out before that window, and none is refused: a call that was cut on its
    way is taken for counted.
    """

    async def scene() -> None:
        async with hub_and_client(Quota(WAITERS + 1, 300.0)) as (hub, client):

            async def look() -> None:
                await client.lifecycle.get_runtime("acme/demo")

            await look()
            before = asyncio.all_tasks()
            for turns in count():
                assert turns < MOST_TURNS
                while hub.remaining():
                    await look()
                hub.requests.clear()
                others: list[asyncio.Task[Any]] = []
                opens = hub.clock.monotonic() + hub._server.window("tester").resets_in(
                    hub._world.now()
                )
                over = await among(others, look, how, turns, place)
                assert [task.exception() for task in others] == [None] * WAITERS
                assert all(r.at >= opens for r in hub.requests)
                await nothing_is_left(hub, client, before)
                assert all(r.status != 429 for r in hub.requests)
                if over:
                    break
            assert turns > 6
            await governor_opens(client)

    play(monkeypatch, scene)


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("place", [0, 2, WAITERS])
def test_a_kind_of_call_that_is_held_back(
    monkeypatch: pytest.MonkeyPatch, how: str, place: int
) -> None:
    """The same while the Hub holds back one kind of call: only the first met a 429.

    Calls of another kind go on all the time. What was reported as done was done.
    """

    async def scene() -> None:
        async with hub_and_client(Quota(10**6, 300.0)) as (hub, client):
            space = hub.space("acme/demo")

            async def sleepy() -> None:
                await client.lifecycle.pause("acme/demo")

            await sleepy()
            before = asyncio.all_tasks()
            for turns in count():
                assert turns < MOST_TURNS
                hub.faults("POST /pause", Fault.action_limit(retry_after=20))
                hub.requests.clear()
                pauses = space.pauses
                others = [asyncio.create_task(sleepy())]
                while not any(r.status == 429 for r in hub.requests):
                    await asyncio.sleep(0)
                await client.lifecycle.get_runtime("acme/demo")
                over = await among(others, sleepy, how, turns, place)
                assert [task.exception() for task in others] == [None] * (WAITERS + 1)
                assert space.pauses - pauses in {WAITERS + 1, WAITERS + 2}
                judge(hub)
                await nothing_is_left(hub, client, before)
                if over:
                    break
            assert turns > 6
            await governor_opens(client)

    play(monkeypatch, scene)


def judge(hub: FakeHub) -> None:
    """One was refused, and for 20 s after that none of its kind was sent."""
    calls = [r for r in hub.requests if r.path.endswith("/pause")]
    assert [r.status for r in calls].count(429) == 1
    assert all(r.at >= calls[0].at + 20 for r in calls[1:])
