"""A client and the event loop that it belongs to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub


@pytest.fixture
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Another event loop, which runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def in_loop(loop: asyncio.AbstractEventLoop, coroutine: Any) -> Any:
    """Run a coroutine in another loop, and wait for it in this one."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


@pytest.mark.parametrize("name", ["get_runtime", "restart"])
async def test_a_call_in_another_loop_is_refused(
    hub: FakeHub, other_loop: asyncio.AbstractEventLoop, name: str
) -> None:
    """It is told as what it is, at once, and nothing is sent."""
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        await client.lifecycle.get_runtime("acme/demo")
        sent = len(hub.requests)
        for user in (client, client.with_token("hf_other"), client.with_options()):
            call = getattr(user.lifecycle, name)("acme/demo")
            with pytest.raises(sa.ConfigurationError, match="another event loop"):
                await in_loop(other_loop, call)
        with pytest.raises(sa.ConfigurationError, match="another event loop"):
            await in_loop(other_loop, client.bulk.restart(["acme/demo"]))
        assert len(hub.requests) == sent
        await client.lifecycle.get_runtime("acme/demo")


async def test_a_client_belongs_to_the_loop_of_its_first_call(
    hub: FakeHub, other_loop: asyncio.AbstractEventLoop
) -> None:
    """Where it was made does not matter, as at start-up there is often no loop."""
    client = sa.SpacesClient(token=hub.token, endpoint=hub.url)
    await in_loop(other_loop, client.lifecycle.get_runtime("acme/demo"))
    with pytest.raises(sa.ConfigurationError, match="another event loop"):
        await client.lifecycle.get_runtime("acme/demo")
    assert len(hub.requests) == 1
    await client.aclose()
    assert client.closed


async def test_a_client_is_closed_from_another_loop(
    hub: FakeHub, other_loop: asyncio.AbstractEventLoop
) -> None:
    """Its connections are closed where they belong, and later calls are refused."""
    client = sa.SpacesClient(token=hub.token, endpoint=hub.url)
    await client.lifecycle.get_runtime("acme/demo")
    await in_loop(other_loop, client.aclose())
    assert client.closed
    with pytest.raises(sa.ClientClosedError):
        await client.lifecycle.get_runtime("acme/demo")


def test_a_client_is_closed_after_its_loop_has_stopped() -> None:
    """Nothing waits for a loop that does not run any more."""
    loop = asyncio.new_event_loop()
    hub = FakeHub()
    loop.run_until_complete(hub.__aenter__())
    hub.add_space("acme/demo")
    client = sa.SpacesClient(token=hub.token, endpoint=hub.url)
    loop.run_until_complete(client.lifecycle.get_runtime("acme/demo"))
    asyncio.run(client.aclose())
    assert client.closed
    loop.run_until_complete(hub.__aexit__(None, None, None))
    loop.close()
    asyncio.run(client.aclose())
