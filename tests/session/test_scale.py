"""How many requests large organizations take, counted by the Hub."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

import spaces_async as sa
from spaces_async import SpaceStage
from spaces_async.testing import FakeHub, Quota
from tests.support.virtual import VirtualClock, play

_QUOTA: Final = Quota(100_000, 300.0)
_BUILD_SECONDS: Final = 90.0


def most_ticks(seconds: float) -> int:
    """How often a wait reads in that time, if chance makes all its pauses short.

    They are a second at first, then half as long again each time, up to 15 seconds, and
    a fifth shorter at most.
    """
    passed, pause, ticks = 0.0, 1.0, 1
    while passed < seconds:
        passed, pause, ticks = passed + 0.8 * pause, min(1.5 * pause, 15.0), ticks + 1
    return ticks


@pytest.mark.unmeasured
def test_1000_waits_read_one_listing_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is read once a tick for all waits; each wait confirms only its end."""
    count = 1000

    async def scene() -> None:
        clock = VirtualClock()
        async with (
            FakeHub(
                clock=clock,
                quota=_QUOTA,
                build_seconds=_BUILD_SECONDS - 30.0,
                start_seconds=30.0,
                latency=(0.1, 0.3),
            ) as hub,
            sa.SpacesClient(token=hub.token, endpoint=hub.url, clock=clock) as client,
        ):
            hub.add_org("acme", members={"tester": "write"})
            ids = [f"acme/n{number}" for number in range(count)]
            for repo_id in ids:
                hub.add_space(repo_id, stage="PAUSED").build()
            started = clock.monotonic()
            async with asyncio.TaskGroup() as group:
                waits = [
                    group.create_task(client.lifecycle.wait_until(repo_id))
                    for repo_id in ids
                ]
            assert {wait.result().stage for wait in waits} == {SpaceStage.RUNNING}
            passed = clock.monotonic() - started
            assert passed >= _BUILD_SECONDS
            listings = [
                request
                for request in hub.requests
                if request.path == "/api/spaces" and "cursor" not in dict(request.query)
            ]
            assert 5 <= len(listings) <= most_ticks(passed)
            # Each confirms its end, and two begin before there are enough to share.
            assert count <= hub.count("GET", "/runtime") <= count + 4
            pages = hub.count("GET", "/api/spaces")
            assert pages == 2 * len(listings)

    play(monkeypatch, scene)


@pytest.mark.unmeasured
def test_stages_of_10000_spaces_take_20_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A selection by stage reads pages of 500, and no Space by itself."""
    failed = [f"acme/n{number}" for number in (0, 4999, 9999)]

    async def scene() -> None:
        clock = VirtualClock()
        async with (
            FakeHub(clock=clock, quota=_QUOTA) as hub,
            sa.SpacesClient(token=hub.token, endpoint=hub.url, clock=clock) as client,
        ):
            hub.add_org("acme", members={"tester": "write"})
            for number in range(10_000):
                hub.add_space(f"acme/n{number}", stage="RUNNING")
            for repo_id in failed:
                hub.set_stage(repo_id, "RUNTIME_ERROR")
            broken = sa.Selection(author="acme", stages={"RUNTIME_ERROR"})
            report = await client.bulk.restart(broken)
            assert {outcome.repo_id for outcome in report.succeeded} == {*failed}
            assert hub.count("POST", "/restart") == len(failed)
            assert len(hub.requests) - len(failed) <= 20

    play(monkeypatch, scene)
