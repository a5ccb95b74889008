"""Reading the next page of a listing ahead: when, how much, and what is left of it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest

import spaces_async as sa
from spaces_async._core.read_ahead import ReadAhead
from spaces_async.testing import FakeHub, Fault

LISTING = ("GET", "/api/spaces")


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """A FakeHub with three pages of two Spaces."""
    async with FakeHub() as hub:
        hub.add_org("acme", members={"tester": "write"})
        for number in range(6):
            hub.add_space(f"acme/s{number}")
        yield hub


def listing(
    client: sa.SpacesClient, limit: int | None = None
) -> AsyncGenerator[sa.SpaceInfo, None]:
    found = client.catalog.list_spaces(author="acme", page_size=2, limit=limit)
    return cast("AsyncGenerator[sa.SpaceInfo, None]", found)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def some_turns() -> None:
    """As many turns as a request would need to reach the server, and more."""
    for _ in range(100):
        await asyncio.sleep(0)


def held(client: sa.SpacesClient) -> int:
    """Return the number of connections that are in use."""
    session = client._session._shared.transport._session
    assert session is not None
    assert session.connector is not None
    return len(session.connector._acquired)


def read_ahead() -> list[asyncio.Task[Any]]:
    """Return the tasks that read ahead."""
    return [task for task in asyncio.all_tasks() if "ReadAhead._read" in repr(task)]


async def test_one_page_is_read_while_the_last_one_is_used(
    hub: FakeHub, client: sa.SpacesClient
) -> None:
    """The second Space of a page has the next page read, and no page after it."""
    async with aclosing(listing(client)) as spaces:
        ids = {(await anext(spaces)).id}
        await some_turns()
        assert hub.count(*LISTING) == 1, "the first Space alone costs one request"
        ids.add((await anext(spaces)).id)
        await until(lambda: hub.count(*LISTING) == 2 and not hub.in_flight)
        await some_turns()
        assert hub.count(*LISTING) == 2
        ids |= {info.id async for info in spaces}
    assert len(ids) == 6
    assert hub.count(*LISTING) == 3


@pytest.mark.parametrize(("limit", "requests"), [(1, 1), (2, 1), (3, 2), (4, 2)])
async def test_nothing_is_read_ahead_beyond_the_limit(
    hub: FakeHub, client: sa.SpacesClient, limit: int, requests: int
) -> None:
    """However long a page is used, none is read that `limit` does not need."""
    count = 0
    async with aclosing(listing(client, limit)) as spaces:
        async for _ in spaces:
            count += 1
            await some_turns()
    assert count == limit
    assert hub.count(*LISTING) == requests


async def test_it_asks_for_the_quota(hub: FakeHub) -> None:
    """A page that the quota does not allow is not requested, and is refused in its turn."""
    policy = sa.RetryPolicy(max_rate_limit_wait=0.0)
    settings = sa.ClientSettings(retry=policy, reserve=0.0)
    hub.spend(hub.remaining() - 1)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        spaces = listing(client)
        await anext(spaces)
        await anext(spaces)
        await some_turns()
        with pytest.raises(sa.RateLimitError) as caught:
            await anext(spaces)
    assert caught.value.attempts == 0
    assert hub.count(*LISTING) == 1


async def test_an_error_is_raised_in_its_turn(
    hub: FakeHub, client: sa.SpacesClient
) -> None:
    """What came before a page is not lost by its error, however early that is known."""
    hub.faults("GET /api/spaces", Fault.status(400), after=1)
    spaces = listing(client)
    await anext(spaces)
    await anext(spaces)
    await until(lambda: hub.count(*LISTING) == 2 and not hub.in_flight)
    await some_turns()
    with pytest.raises(sa.BadRequestError):
        await anext(spaces)
    with pytest.raises(StopAsyncIteration):
        await anext(spaces)


async def test_an_error_that_nobody_asks_for_is_dropped(
    hub: FakeHub, client: sa.SpacesClient
) -> None:
    """The event loop never complains of an exception that was not retrieved."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    hub.faults("GET /api/spaces", Fault.status(400), after=1)
    spaces = listing(client)
    await anext(spaces)
    await anext(spaces)
    await until(lambda: hub.count(*LISTING) == 2 and not hub.in_flight)
    await some_turns()
    await spaces.aclose()
    del spaces
    gc.collect()
    await some_turns()
    assert complaints == []


async def leave(spaces: AsyncGenerator[sa.SpaceInfo, None]) -> None:
    await spaces.aclose()


async def drop(_spaces: AsyncGenerator[sa.SpaceInfo, None]) -> None:
    """The last reference goes with this frame and its caller's."""


async def cancel(spaces: AsyncGenerator[sa.SpaceInfo, None]) -> None:
    waiting = asyncio.create_task(anext(spaces))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def time_out(spaces: AsyncGenerator[sa.SpaceInfo, None]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(spaces)


@pytest.mark.parametrize("end", [leave, drop, cancel, time_out])
async def test_the_end_of_a_listing_ends_what_is_read_ahead(
    hub: FakeHub, client: sa.SpacesClient, end: Callable[..., Any]
) -> None:
    """Closed, dropped, cancelled or timed out: no task, connection or permit is left."""
    await client.lifecycle.get_runtime("acme/s0")
    hub.faults("GET /api/spaces", Fault.hang(), after=1)
    held_at_first = held(client)

    async def scene() -> None:
        spaces = listing(client)
        await anext(spaces)
        await anext(spaces)
        await until(lambda: hub.in_flight == 1)
        assert len(read_ahead()) == 1
        assert held(client) == held_at_first + 1
        await end(spaces)

    await scene()
    gc.collect()
    await until(lambda: held(client) == held_at_first and not hub.in_flight)
    await some_turns()
    assert not read_ahead()
    shared = client._session._shared
    assert shared.places.in_use == 0
    governor = shared.account(client._session._credentials.known).governor
    assert governor._in_flight == 0


async def test_a_listing_that_is_left_open_holds_no_connection(
    hub: FakeHub, client: sa.SpacesClient
) -> None:
    """What is read ahead ends by itself, and the page is there when it is asked for."""
    spaces = listing(client)
    await anext(spaces)
    await anext(spaces)
    await until(lambda: hub.count(*LISTING) == 2 and not held(client))
    await some_turns()
    assert not read_ahead()
    assert len([info async for info in spaces]) == 4


async def test_a_client_that_is_closed_ends_it(hub: FakeHub) -> None:
    """A client that is closed while a page is read ahead leaves nothing that hangs."""
    hub.faults("GET /api/spaces", Fault.hang(), after=1)
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        spaces = listing(client)
        await anext(spaces)
        await anext(spaces)
        await until(lambda: hub.in_flight == 1)
    with pytest.raises(sa.SpacesError):
        await anext(spaces)


async def test_an_impatient_cancel() -> None:
    """A second cancel does not keep the end of what is read ahead from being awaited."""
    steps: list[str] = []

    async def pages() -> AsyncGenerator[list[str], None]:
        yield ["a", "b"]
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            for _ in range(5):
                await asyncio.sleep(0)
            steps.append("ended")
            raise

    async def read() -> None:
        async with ReadAhead(pages()) as ahead:
            assert await ahead.next() == ["a", "b"]
            ahead.begin()
            for _ in range(4):
                await asyncio.sleep(0)
        steps.append("not reached")

    task = asyncio.create_task(read())
    for _ in range(6):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["ended"]
