"""How many requests large organizations take, counted by the Hub."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from collections import Counter
from typing import ClassVar, Final, cast

import pytest

import spaces_async as sa
from spaces_async import SpaceStage
from spaces_async.bulk import operations
from spaces_async.testing import FakeHub, Quota
from tests.benchmarks.server import Serve
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


# Waves -------------------------------------------------------------------------------


class _Paused:
    """A connection on which each Space is said to be paused."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, said: bytes) -> None:
        said = said.replace(b'"RUNNING"', b'"PAUSED" ')
        self._transport.write(said.replace(b'"BUILDING"', b'"PAUSED"  '))


class _PausingHub(Serve):
    """Takes a tenth of FakeHub's time for each request, and counts them."""

    seen: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        paused = _Paused(cast("asyncio.Transport", transport))
        self.transport = cast("asyncio.Transport", paused)

    def answer(self, head: bytes) -> None:
        method, target, *_ = head.decode().split(" ")
        is_listing = target.startswith("/api/spaces?")
        self.seen["listing" if is_listing else method] += 1
        super().answer(head)


def most_memory() -> int:
    """The most bytes that this process has had until now."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@pytest.mark.unmeasured
def test_10000_spaces_in_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write and a read each, one listing a wave, and some kilobytes of memory."""
    count = 10_000
    _PausingHub.seen.clear()

    async def scene() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: _PausingHub(0.0), "127.0.0.1", 0, backlog=100
        )
        port = server.sockets[0].getsockname()[1]
        ids = [f"n{count}/s{number}" for number in range(count)]
        waves: list[int | str] = [1, "5%", "25%", "100%"]
        async with sa.SpacesClient(
            token="hf_token", endpoint=f"http://127.0.0.1:{port}", clock=VirtualClock()
        ) as client:
            gc.collect()
            before, done = most_memory(), 0
            async with client.bulk.stream(
                operations.pause(), ids, waves=waves, keep="failures"
            ) as outcomes:
                async for outcome in outcomes:
                    assert outcome.reason == "healthy"
                    done += 1
            grown = most_memory() - before
        server.close()
        report = outcomes.report
        assert report.ok
        assert done == len(report) == count
        assert [wave.healthy for wave in report.waves] == [1, 499, 2000, 7500]
        assert _PausingHub.seen["POST"] == count
        # Each Space confirms by itself that it is well.
        assert count <= _PausingHub.seen["GET"] <= count + len(waves)
        # A listing has 20 pages, and is shared by all Spaces of a wave.
        assert _PausingHub.seen["listing"] <= 20 * len(waves)
        # 7,500 are watched at a time: 87 MB where nothing else has run before.
        assert grown < count * 20_000

    play(monkeypatch, scene)
