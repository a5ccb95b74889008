"""What every ledger does, a file and Redis: programs share a quota without a 429.

In virtual time. Redis is a real server, which is told the virtual time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support.pacing import Load, seeded
from tests.support.redis_server import RedisServer, needs_redis, use_timed_store
from tests.support.virtual import play

HOSTS = 16 if os.environ.get("SOAK") else 6
AT_ONCE = sa.RetryPolicy(max_rate_limit_wait=1.0)
Scene = Callable[[], Coroutine[Any, Any, None]]

pytestmark = pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path_factory.mktemp("redis"))
    started.start()
    yield started
    started.kill()


@pytest.fixture(params=["file", pytest.param("redis", marks=needs_redis)])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where programs share the quota."""
    if request.param == "file":
        yield str(tmp_path / "ledger")
        return
    server: RedisServer = request.getfixturevalue("server")
    store = use_timed_store(monkeypatch, server)
    store.flush()
    yield server.url
    store.close()


@asynccontextmanager
async def hub_of(quota: Quota, **arguments: Any) -> AsyncGenerator[FakeHub, None]:
    async with FakeHub(quota=quota, latency=(0.1, 0.3), **arguments) as hub:
        hub.add_space("tester/demo")
        yield hub


def client_of(hub: FakeHub, ledger: str, **options: Any) -> sa.SpacesClient:
    settings = sa.ClientSettings(ledger=ledger, **options)
    return sa.SpacesClient(token=hub.token, endpoint=hub.url, settings=settings)


async def read(client: sa.SpacesClient, count: int = 1) -> None:
    for _ in range(count):
        await client.lifecycle.get_runtime("tester/demo")


async def at_once(client: sa.SpacesClient, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(read(client))


def refused(hub: FakeHub) -> int:
    return sum(request.status == 429 for request in hub.requests)


def test_what_one_has_learned_the_other_knows(
    monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    """A client that has sent nothing yet does not try a window that is used up."""

    async def scene() -> None:
        async with hub_of(Quota(5, 300.0)) as hub:
            async with (
                client_of(hub, ledger) as one,
                client_of(hub, ledger, retry=AT_ONCE) as other,
            ):
                await read(one, 5)
                with pytest.raises(sa.RateLimitError) as caught:
                    await read(other)
            assert (caught.value.attempts, caught.value.remaining) == (0, 0)
            assert len(hub.requests) == 5

    play(monkeypatch, scene, measured=True)


def test_the_requests_in_flight_of_all_count(
    monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    """A request in flight of one client is not left for the others."""

    async def scene() -> None:
        async with (
            hub_of(Quota(5, 300.0)) as hub,
            client_of(hub, ledger) as one,
            client_of(hub, ledger) as other,
        ):
            await read(one)
            hub.faults("GET /runtime", Fault.hang(), times=4)
            tasks = [asyncio.create_task(read(one)) for _ in range(4)]
            fifth = asyncio.create_task(read(other))
            await asyncio.sleep(5)
            assert len(hub.requests) == 5
            for task in [*tasks, fifth]:
                task.cancel()
            await asyncio.wait([*tasks, fifth])

    play(monkeypatch, scene, measured=True)


def test_an_action_limit_is_known_to_all(
    monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    """One kind of call that the Hub holds back is held back in every program."""

    async def scene() -> None:
        async with hub_of(Quota(500, 300.0)) as hub:
            async with (
                client_of(hub, ledger, retry=AT_ONCE) as one,
                client_of(hub, ledger, retry=AT_ONCE) as other,
            ):
                hub.faults("POST /restart", Fault.action_limit())
                with pytest.raises(sa.ActionLimitError):
                    await one.lifecycle.restart("tester/demo")
                await read(other)
                with pytest.raises(sa.ActionLimitError):
                    await other.lifecycle.restart("tester/demo")
                await read(other)
            assert hub.count("POST", "/restart") == 1

    play(monkeypatch, scene, measured=True)


def test_a_429_of_one_stops_all(monkeypatch: pytest.MonkeyPatch, ledger: str) -> None:
    """Others who use the token may use a window up: one client finds out, for all."""

    async def scene() -> None:
        async with (
            hub_of(Quota(50, 60.0)) as hub,
            client_of(hub, ledger) as one,
            client_of(hub, ledger) as other,
        ):
            await read(one)
            await read(other)
            hub.spend(48)
            await read(one)
            await read(other)
            assert refused(hub) <= 2
            assert hub.requests[-1].at >= 60.0

    play(monkeypatch, scene, measured=True)


def test_each_token_has_its_own_page(
    monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    """A used up quota holds no other user back."""

    async def scene() -> None:
        async with hub_of(Quota(3, 300.0)) as hub:
            hub.add_user("alice", token="hf_alice")
            async with client_of(hub, ledger, retry=AT_ONCE) as client:
                await read(client, 3)
                alice = client.with_token("hf_alice")
                for _ in range(3):
                    await alice.catalog.get_info("tester/demo")
            assert refused(hub) == 0

    play(monkeypatch, scene, measured=True)


def test_bulk_work_leaves_the_reserve(
    monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    """While one client does bulk work, another still has a tenth of the window."""

    async def scene() -> None:
        async with (
            hub_of(Quota(100, 300.0)) as hub,
            client_of(hub, ledger) as one,
            client_of(hub, ledger, retry=AT_ONCE) as other,
        ):
            hub.add_org("acme", members={"tester": "write"})
            for number in range(150):
                hub.add_space(f"acme/s{number}", stage="PAUSED")
            spaces = [f"acme/s{number}" for number in range(150)]
            bulk = asyncio.create_task(one.bulk.restart(spaces, concurrency=32))
            await asyncio.sleep(100)
            assert 80 <= len(hub.requests) <= 90
            await at_once(other, 10)
            assert hub.requests[-1].at < 110
            report = await bulk
            assert report.ok
            assert refused(hub) == 0

    play(monkeypatch, scene)


@pytest.mark.parametrize("turns", range(0, 24, 3))
def test_a_call_that_is_cancelled_takes_nothing(
    monkeypatch: pytest.MonkeyPatch, ledger: str, turns: int
) -> None:
    """Wherever calls are cancelled before they are sent, the whole window stays usable."""

    async def scene() -> None:
        async with hub_of(Quota(40, 300.0)) as hub:
            async with client_of(hub, ledger) as one, client_of(hub, ledger) as other:
                await read(one)
                tasks = [asyncio.create_task(read(one)) for _ in range(20)]
                for _ in range(turns):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await asyncio.sleep(10)
                sent = len(hub.requests)
                await at_once(other, 40 - sent)
                assert hub.requests[-1].at < 30
            assert refused(hub) == 0
            assert len(hub.requests) == 40

    play(monkeypatch, scene)


@pytest.mark.parametrize("first_share", [None, 0.7], ids=["even", "one with 70 %"])
def test_programs_that_share_a_ledger(ledger: str, first_share: float | None) -> None:
    """They are not refused, and lose next to nothing."""
    load = Load(
        programs=4,
        concurrency=16,
        ledger=ledger,
        first_share=first_share,
    )
    result = seeded(load)
    assert result.failed == 0
    assert result.refused == 0
    assert sum(result.served.values()) == load.calls
    assert result.ratio <= 1.012


def test_a_hub_that_announces_no_quota(
    monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    """Then there is nothing to share, and calls go on."""

    async def scene() -> None:
        async with FakeHub(quota=None, latency=(0.1, 0.3)) as hub:
            hub.add_space("tester/demo")
            async with client_of(hub, ledger) as one, client_of(hub, ledger) as other:
                async with asyncio.TaskGroup() as group:
                    group.create_task(at_once(one, 100))
                    group.create_task(at_once(other, 100))
                assert len(hub.requests) == 200
                assert hub.requests[-1].at < 30

    play(monkeypatch, scene)


@needs_redis
@pytest.mark.parametrize(
    ("fault", "at"),
    [("lost its memory", 1.5), ("was away", 301.8), ("stayed away", 1.0)],
)
def test_a_fault_of_redis_costs_little(
    monkeypatch: pytest.MonkeyPatch, server: RedisServer, fault: str, at: float
) -> None:
    """Of the hosts that go on alone, one call a window is refused at most; none fails."""
    store = use_timed_store(monkeypatch, server)
    store.flush()
    lasts = 400.0 if fault == "stayed away" else 1.5

    def strike(now: float) -> None:
        if fault != "lost its memory":
            store.is_down = at <= now < at + lasts
        elif now >= at:
            store.on_take = None
            store.flush()

    store.on_take = strike
    load = Load(calls=1000, programs=HOSTS, concurrency=16, ledger=server.url)
    result = seeded(load)
    store.close()
    assert result.failed == 0
    assert max(result.refused_by_window.values(), default=0) <= 1
    # What a host alone leaves of a window goes out in one more.
    assert len(result.served) <= 3
