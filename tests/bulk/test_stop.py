"""A bulk that is stopped gently: nothing in flight is lost, nothing more is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota

IDS = [f"acme/s{number}" for number in range(12)]


@pytest_asyncio.fixture
async def hub_clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def hub(hub_clock: ManualClock) -> AsyncIterator[FakeHub]:
    """A Hub with a clock of its own, so that it answers when a test says so."""
    async with FakeHub(clock=hub_clock) as hub:
        for repo_id in IDS:
            hub.add_space(repo_id, hardware="t4-small")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub) -> AsyncIterator[sa.SpacesClient]:
    clock = ManualClock()
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        yield client


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


async def consume(stream: Any) -> None:
    async with stream as outcomes:
        async for _ in outcomes:
            pass


def counts(report: sa.BulkReport[Any]) -> dict[S, int]:
    return dict(Counter(outcome.status for outcome in report))


async def test_what_is_in_flight_is_done(
    hub: FakeHub, hub_clock: ManualClock, client: sa.SpacesClient, tmp_path: Path
) -> None:
    """Four requests get their response and are done; the other Spaces get nothing."""
    hub.faults("POST /restart", Fault.delay(5.0), times=None, after=1)
    path = tmp_path / "journal.jsonl"
    stream = client.bulk.stream(operations.restart(), IDS, concurrency=4, journal=path)
    task = asyncio.create_task(consume(stream))
    await until(lambda: hub.in_flight == 4)
    await hub_clock.wait_for_sleepers(4)
    stream.stop()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    hub_clock.advance(5.0)
    await task
    report = stream.report
    assert counts(report) == {S.DONE: 5, S.NOT_ATTEMPTED: 7}
    assert [o.repo_id for o in report] == IDS
    assert report.stopped_by == "cancelled"
    assert hub.count("POST", "/restart") == 5
    hub.clear_faults()
    journal = path.read_text("utf-8")
    again = await client.bulk.resume(path)
    assert again.ok, journal
    assert hub.count("POST", "/restart") == len(IDS)


async def test_a_consumer_that_is_slow(hub: FakeHub, client: sa.SpacesClient) -> None:
    """Workers that wait until an outcome is taken end, and all outcomes are there."""
    stream = client.bulk.stream(operations.restart(), IDS, concurrency=2)
    got: list[str] = []
    async with stream as outcomes:
        async for outcome in outcomes:
            got.append(outcome.repo_id)
            if len(got) == 1:
                for _ in range(500):  # the buffer fills
                    await asyncio.sleep(0)
                assert not hub.in_flight
                assert hub.count("POST", "/restart") < len(IDS)
            if len(got) == 2:
                stream.stop()
    assert sorted(got) == sorted(IDS)
    assert stream.report.stopped_by == "cancelled"


@pytest.mark.parametrize("what", ["a lost response", "only changes", "a journal"])
async def test_no_write_after_a_read(
    hub: FakeHub, hub_clock: ManualClock, tmp_path: Path, what: str
) -> None:
    """A read that is in flight is not followed by the write that it was for."""
    operation: operations.Operation[Any] = operations.pause()
    options: dict[str, Any] = {}
    if what == "a lost response":
        hub.faults("POST *", Fault.reset(acted=False), times=1)
    elif what == "only changes":
        operation = operations.add_variables({"A": "1"})
        options["only_changes"] = True
    else:
        options["journal"] = tmp_path / "journal.jsonl"
    hub.faults("GET *", Fault.delay(5.0), times=1)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=ManualClock(auto=True)
    ) as client:
        stream = client.bulk.stream(operation, IDS[:1], **options)
        task = asyncio.create_task(consume(stream))
        async with asyncio.timeout(20):
            await hub_clock.wait_for_sleepers(1)
        sent = hub.count("POST")
        stream.stop()
        hub_clock.advance(5.0)
        await task
    assert hub.count("POST") == sent
    end = S.FAILED if what == "a lost response" else S.NOT_ATTEMPTED
    assert counts(stream.report) == {end: 1}


async def test_no_retry(hub: FakeHub, client: sa.SpacesClient) -> None:
    """A response that is lost after the stop is in doubt, and nothing is sent again."""
    for repo_id in IDS[1:3]:
        hub.faults("POST /restart", Fault.hang(), repo_id=repo_id, times=None)
    quick = client.with_options(timeouts=sa.Timeouts(read=1.0))
    stream = quick.bulk.stream(operations.restart(), IDS[:3], concurrency=2)
    task = asyncio.create_task(consume(stream))
    await until(lambda: hub.in_flight == 2)
    sent = len(hub.requests)
    stream.stop()
    await task
    assert len(hub.requests) == sent
    assert [o.status for o in stream.report] == [S.DONE, S.UNKNOWN, S.UNKNOWN]
    assert all(o.error is not None for o in stream.report.unknown)


async def test_no_wait_for_the_quota(hub_clock: ManualClock) -> None:
    """Spaces that wait for the quota end at once, as not attempted."""
    clock = ManualClock()
    async with FakeHub(clock=hub_clock, quota=Quota(3, 300.0)) as hub:
        for repo_id in IDS:
            hub.add_space(repo_id)
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            stream = client.bulk.stream(operations.restart(), IDS, concurrency=6)
            task = asyncio.create_task(consume(stream))
            await clock.wait_for_sleepers(6)
            stream.stop()
            await task
    report = stream.report
    assert counts(report)[S.NOT_ATTEMPTED] == len(IDS) - len(report.succeeded)
    assert hub.count("POST", "/restart") == len(report.succeeded) <= 3


async def test_no_backoff_and_no_outage(hub: FakeHub, client: sa.SpacesClient) -> None:
    """What waits for a retry, or for the end of an outage, ends with what it knows."""
    hub.faults("*", Fault.status(503), times=None)
    stream = client.bulk.stream(operations.restart(), IDS, concurrency=4)
    task = asyncio.create_task(consume(stream))
    await until(lambda: hub.count("POST", "/restart") >= 4 and not hub.in_flight)
    for _ in range(50):
        await asyncio.sleep(0)
    sent = hub.count("POST", "/restart")
    stream.stop()
    await task
    assert hub.count("POST", "/restart") == sent
    report = stream.report
    assert [o.repo_id for o in report] == IDS
    assert set(counts(report)) <= {S.FAILED, S.UNKNOWN, S.NOT_ATTEMPTED}
    for outcome in report:
        if outcome.attempts:
            assert outcome.status is not S.NOT_ATTEMPTED
            assert outcome.error is not None


async def test_functions(hub: FakeHub, client: sa.SpacesClient) -> None:
    """A function that may write runs to its end; one that only reads ends at once."""
    go_on, begun, ended = asyncio.Event(), [], []

    async def work(client: sa.SpacesClient, repo_id: str) -> None:
        begun.append(repo_id)
        await go_on.wait()
        ended.append(repo_id)

    stream = client.bulk.stream(work, IDS, concurrency=3)
    task = asyncio.create_task(consume(stream))
    await until(lambda: len(begun) == 3)
    stream.stop()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    await task
    assert ended == IDS[:3]
    assert counts(stream.report) == {S.DONE: 3, S.NOT_ATTEMPTED: 9}

    go_on.clear()
    reading = operations.as_operation(work, name="look", only_reads=True)
    stream = client.bulk.stream(reading, IDS, concurrency=3)
    task = asyncio.create_task(consume(stream))
    await until(lambda: len(begun) == 6)
    stream.stop()
    await task
    assert counts(stream.report) == {S.NOT_ATTEMPTED: 12}


async def test_a_cancel_after_the_stop(
    hub: FakeHub, hub_clock: ManualClock, client: sa.SpacesClient
) -> None:
    """The cancel after a stop ends what is in flight, too, and says that it is unknown."""
    hub.faults("POST /restart", Fault.hang(), times=None, after=1)
    stream = client.bulk.stream(operations.restart(), IDS, concurrency=4)
    task = asyncio.create_task(consume(stream))
    await until(lambda: hub.in_flight == 4)
    stream.stop()
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counts(stream.report) == {S.DONE: 1, S.UNKNOWN: 4, S.NOT_ATTEMPTED: 7}


async def test_stopped_when_nothing_runs(hub: FakeHub, client: sa.SpacesClient) -> None:
    """Before its start and after its end a stop changes nothing."""
    stream = client.bulk.stream(operations.restart(), IDS[:2])
    stream.stop()
    await consume(stream)
    stream.stop()
    assert stream.report.ok
    assert stream.report.stopped_by is None


async def test_stopped_before_its_first_turn(
    hub: FakeHub, client: sa.SpacesClient
) -> None:
    """A bulk that is stopped as soon as it is entered ends, with nothing sent."""
    async with client.bulk.stream(operations.pause(), IDS) as outcomes:
        outcomes.stop()
        async for _ in outcomes:
            pass
    assert counts(outcomes.report) == {S.NOT_ATTEMPTED: len(IDS)}
    assert not hub.requests
