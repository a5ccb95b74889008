"""Logs, events and metrics: answers that stay open."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from spaces_async.testing import FakeHub, FakeSpace, ManualClock

DEMO = "/api/spaces/acme/demo"


@pytest.fixture
def demo(hub: FakeHub) -> Any:
    return hub.add_space("acme/demo")


async def test_run_log_replays_then_follows(
    hub: FakeHub, api: Any, demo: FakeSpace, clock: ManualClock
) -> None:
    """First the buffer, then what is printed; a silent stream gets comments."""
    demo.log("one\n")
    async with api.session.get(f"{DEMO}/logs/run") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert "RateLimit" in response.headers
        line = await response.content.readuntil(b"\n\n")
        event = {"data": "one\n", "timestamp": "2026-01-01T00:00:00.000Z"}
        assert json.loads(line.removeprefix(b"data: ")) == event
        await clock.wait_for_sleepers()
        demo.log("two")
        assert b"two" in await response.content.readuntil(b"\n\n")
        await clock.wait_for_sleepers()
        clock.advance(30)
        assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
        await api("POST", f"{DEMO}/restart")
        clock.advance(2)
        assert b"Application Startup" in await response.content.readuntil(b"\n\n")


async def test_tail(api: Any, demo: FakeSpace) -> None:
    """Only so many lines of the buffer are replayed."""
    for number in range(5):
        demo.log(f"line {number}")
    async with api.session.get(f"{DEMO}/logs/run?tail=2") as response:
        assert b"line 3" in await response.content.readuntil(b"\n\n")
        assert b"line 4" in await response.content.readuntil(b"\n\n")


async def test_build_log_ends_with_the_build(
    api: Any, demo: FakeSpace, clock: ManualClock
) -> None:
    """Without a build it ends at once; during one it follows until its end."""
    demo.log("old", kind="build")
    async with api.session.get(f"{DEMO}/logs/build") as response:
        assert (await response.text()).count("data:") == 1
    await api("POST", f"{DEMO}/restart")
    async with api.session.get(f"{DEMO}/logs/build") as response:
        assert b"Build Queued" in await response.content.readuntil(b"\n\n")
        await clock.wait_for_sleepers()
        clock.advance(10)
        assert b"Pushing image" in await response.content.read()


async def test_events_tell_each_stage(
    api: Any, demo: FakeSpace, clock: ManualClock
) -> None:
    """Also those that pass between two looks."""
    async with api.session.get(f"{DEMO}/events") as response:

        async def event() -> Any:
            return await response.content.readuntil(b"\n\n")

        assert await event() == b"event: stage\ndata: RUNNING\n\n"
        await clock.wait_for_sleepers()
        await api("POST", f"{DEMO}/restart")
        assert b"BUILDING" in await event()
        await clock.wait_for_sleepers()
        clock.advance(10)
        assert b"APP_STARTING" in await event()
        assert b"RUNNING" in await event()
        await clock.wait_for_sleepers()
        body = {"name": "demo", "organization": "acme", "type": "space"}
        await api("DELETE", "/api/repos/delete", body)
        assert b"DELETING" in await event()
        assert await response.content.read() == b""


async def test_metrics(
    hub: FakeHub, api: Any, demo: FakeSpace, clock: ManualClock
) -> None:
    """One measurement a second; 406 for a Space that does not run."""
    async with api.session.get(f"{DEMO}/metrics") as response:
        for _ in range(2):
            event = await response.content.readuntil(b"\n\n")
            assert event.startswith(b"event: metric\ndata: {")
            await clock.wait_for_sleepers()
            clock.advance(1)
    demo.pause()
    answer = await api("GET", f"{DEMO}/metrics")
    assert (answer.status, answer.json) == (406, {"error": "Space is stale"})


@pytest.mark.parametrize("path", ["logs/run", "logs/build", "events", "metrics"])
async def test_streams_need_a_token(anonymous: Any, demo: FakeSpace, path: Any) -> None:
    """Even those of a public Space."""
    assert (await anonymous("GET", f"{DEMO}/{path}")).status == 401


@pytest.mark.parametrize("path", ["logs/run", "events", "metrics"])
async def test_a_reader_that_leaves_leaves_nothing(
    *,
    hub: FakeHub,
    api: Any,
    demo: FakeSpace,
    clock: ManualClock,
    path: Any,
    until: Any,
) -> None:
    """The stream ends with the connection, and its timer is gone."""
    demo.log("x")
    async with api.session.get(f"{DEMO}/{path}") as response:
        await response.content.readuntil(b"\n\n")
        await clock.wait_for_sleepers()
        response.close()
    await until(lambda: not hub.in_flight)
    assert (clock.sleeping, demo.watchers) == (0, [])


@pytest.mark.parametrize("path", ["logs/run", "events", "metrics"])
async def test_closing_the_hub_ends_open_streams(
    hub: FakeHub, api: Any, demo: FakeSpace, clock: ManualClock, path: Any
) -> None:
    """It is prompt and leaves no task."""
    demo.log("x")
    before = asyncio.all_tasks()
    async with api.session.get(f"{DEMO}/{path}") as response:
        await response.content.readuntil(b"\n\n")
        async with asyncio.timeout(20):
            await hub.aclose()
    assert (clock.sleeping, hub.in_flight, hub.connections) == (0, 0, 0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
