"""Cancelling at every await: no connection held, no task left, the next call works."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub, Fault

Do = Callable[[sa.SpacesClient], Awaitable[Any]]


async def first_page(client: sa.SpacesClient) -> None:
    async for _ in client.catalog.list_spaces(author="acme"):
        return


async def bulk(client: sa.SpacesClient) -> None:
    await client.bulk.restart(sa.Selection(author="acme"), concurrency=4)


CALLS: dict[str, Do] = {
    "read": lambda c: c.lifecycle.get_runtime("acme/demo"),
    "write": lambda c: c.config.add_secret("acme/demo", "K", "v"),
    "duplicate": lambda c: c.lifecycle.duplicate("acme/demo"),
    "listing": first_page,
    "bulk": bulk,
}


async def nothing_is_left(client: sa.SpacesClient, before: set[Any]) -> None:
    """The next call works, and no task or connection is held."""
    async with asyncio.timeout(10):
        await client.lifecycle.get_runtime("acme/demo")
    assert asyncio.all_tasks() - before <= hub_tasks()
    connector = client._session._shared.transport._session.connector  # type: ignore[union-attr]
    assert connector is not None
    assert not connector._acquired
    governor = client._session._shared.account(client._session._credentials.known)
    assert governor.governor._in_flight == 0
    assert client._session._shared.places.in_use == 0


def hub_tasks() -> set[Any]:
    """Tasks of the FakeHub's server, one for each connection that is open."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" in repr(task)}


@pytest.mark.parametrize("name", CALLS)
async def test_cancelled_at_every_step(hub: FakeHub, name: str) -> None:
    """Whatever turn of the loop a cancel falls on, nothing is left behind."""
    before = asyncio.all_tasks()
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        await client.lifecycle.get_runtime("acme/demo")
        for step in range(400):
            task = asyncio.ensure_future(CALLS[name](client))
            for _ in range(step):
                if task.done():
                    break
                await asyncio.sleep(0)
            finished = task.done()
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)  # noqa: TID251  (the result may be a cancel)
            assert isinstance(
                results[0], asyncio.CancelledError | sa.ConflictError
            ) or (finished or task.done())
            await nothing_is_left(client, before)
            if finished:
                break
        else:
            pytest.fail("the call never finished")


async def test_a_cancel_does_not_show_the_token(hub: FakeHub) -> None:
    """The traceback of a cancel holds no frame that knows the token."""
    hub.faults("POST /secrets", Fault.hang())
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        task = asyncio.create_task(client.config.add_secret("acme/demo", "K", "hush"))
        while not hub.in_flight:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        frames = [entry.path for entry in caught.traceback]
        assert not [path for path in frames if "aiohttp" in str(path)]


async def test_a_dying_task_group_takes_its_calls_along(hub: FakeHub) -> None:
    """A sibling's error ends a call that waits; the client stays usable."""
    hub.faults("GET /runtime", Fault.hang(), times=5, after=1)

    async def fail() -> None:
        while hub.in_flight < 5:
            await asyncio.sleep(0)
        raise ValueError("sibling")

    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        await client.lifecycle.get_runtime("acme/demo")
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(client.lifecycle.get_runtime("acme/demo"))
                group.create_task(fail())
        await client.lifecycle.get_runtime("acme/demo")


async def test_no_warning_when_a_listing_is_left_early(hub: FakeHub) -> None:
    """A listing that is dropped half-way is collected without a complaint."""
    for number in range(20):
        hub.add_space(f"acme/s{number}")
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        async for _ in client.catalog.list_spaces(author="acme"):
            break
    gc.collect()
    await asyncio.sleep(0)
