"""Cancelling a stream at any turn: as it opens, in its body, as it is opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub, Fault
from tests.support.cut import HOWS, MOST_TURNS, cut, governor_opens, nothing_is_left
from tests.support.virtual import play

IDS = ["acme/demo", "acme/other", "acme/third"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning"),
    pytest.mark.parametrize("how", HOWS),
]


@asynccontextmanager
async def hub_and_client() -> AsyncGenerator[tuple[FakeHub, sa.SpacesClient], None]:
    """A Hub with three Spaces that have printed a line, and a client of it."""
    async with FakeHub() as hub:
        hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            hub.add_space(repo_id).log("first")
        async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
            yield hub, client


async def at_every_turn(
    hub: FakeHub,
    client: sa.SpacesClient,
    how: str,
    read: Callable[[], Awaitable[None]],
    least: int,
) -> None:
    """Cut a reader at each turn until it comes to its end by itself.

    It must take at least so many turns, so that it is cut in its body, too. How many it
    takes exactly depends on Python: from 3.12 on aiohttp's tasks start in the same turn.
    """
    await client.lifecycle.get_runtime("acme/demo")
    before = asyncio.all_tasks()
    for turns in count():
        assert turns < MOST_TURNS
        over = await cut(read, how, turns)
        hub.clear_faults()
        await nothing_is_left(hub, client, before)
        if over:
            assert turns >= least
            break
    await governor_opens(client)


@pytest.mark.parametrize("fault", [Fault.status(502), Fault.reset()])
def test_a_log_that_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, how: str, fault: Fault
) -> None:
    """A followed log whose connection breaks; the first try to open it again fails.

    Cut in the wait before a try, in a try or in the body, it holds nothing. What came
    until then is what the Space has printed, in order, with nothing twice.
    """

    async def scene() -> None:
        async with hub_and_client() as (hub, client):
            space = hub.space("acme/demo")

            async def read() -> None:
                seen: list[str] = []
                space.run_log.clear()
                space.log("one")
                try:
                    async with client.logs.stream_logs(
                        "acme/demo", follow=True
                    ) as lines:
                        async for line in lines:
                            seen.append(line.text)
                            if line.text == "one":
                                hub.faults("GET /logs/run", fault)
                                space.log("two")
                                break_connections(hub)
                                space.log("three")
                            if line.text == "three":
                                break
                finally:
                    assert ["one", "two", "three"][: len(seen)] == seen

            await at_every_turn(hub, client, how, read, 15)

    play(monkeypatch, scene)


def break_connections(hub: FakeHub) -> None:
    """Let the Hub break every connection that is open, as a proxy that is restarted."""
    server = hub._server._server
    assert server is not None
    for connection in server.connections:
        assert connection.transport is not None
        connection.transport.abort()


def test_many_logs_in_one(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A merged stream closes all its connections, whatever turn it is cut in.

    The turns in which it closes after its end are among them.
    """

    async def scene() -> None:
        async with hub_and_client() as (hub, client):

            async def read() -> None:
                seen: set[str] = set()
                async with client.logs.stream_many(IDS, tail=1) as lines:
                    async for line in lines:
                        seen.add(line.repo_id)
                        if len(seen) == len(IDS):
                            break

            await at_every_turn(hub, client, how, read, 10)

    play(monkeypatch, scene)


def test_a_log_that_is_not_followed(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A replay that is cut while it waits for silence leaves nothing."""

    async def scene() -> None:
        async with hub_and_client() as (hub, client):

            async def read() -> None:
                async with client.logs.stream_logs("acme/demo") as lines:
                    assert [line.text async for line in lines][-1] == "first"

            await at_every_turn(hub, client, how, read, 5)

    play(monkeypatch, scene)


def test_events_while_the_stage_changes(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A stream of events is cut in any turn from its opening to a new stage."""

    async def scene() -> None:
        async with hub_and_client() as (hub, client):

            async def read() -> None:
                hub.set_stage("acme/demo", "RUNNING")
                async with client.logs.stream_events("acme/demo") as events:
                    async for event in events:
                        if event.stage is sa.SpaceStage.PAUSED:
                            break
                        hub.set_stage("acme/demo", "PAUSED")

            await at_every_turn(hub, client, how, read, 5)

    play(monkeypatch, scene)
