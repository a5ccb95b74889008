"""What a cancel, a closed client or the end of a program leaves behind of a bulk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.bulk._journal.reader import read_state
from spaces_async.testing import FakeHub, Fault, Quota

IDS = [f"acme/s{number}" for number in range(6)]


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """A Hub whose builds take so long that a health check never ends."""
    async with FakeHub(build_seconds=1e6) as hub:
        for repo_id in IDS:
            hub.add_space(repo_id)
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub) -> AsyncIterator[sa.SpacesClient]:
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        yield client


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def consume(stream: sa.BulkStream[Any]) -> None:
    async with stream:
        async for _ in stream:
            pass


async def require_same(path: Path, report: sa.BulkReport[Any]) -> None:
    """Require that a journal has what a report has."""
    _, state = await asyncio.to_thread(read_state, path)
    for outcome in report:
        entry = state.entries[outcome.repo_id]
        assert entry.settled is outcome.ok, outcome


async def test_a_health_check_that_never_had_a_turn(
    client: sa.SpacesClient, tmp_path: Path
) -> None:
    """What is done is done in the journal, too, though nobody saw it get healthy."""
    path = tmp_path / "journal.jsonl"
    stream = client.bulk.stream(
        operations.restart(), IDS, journal=path, healthy=True, concurrency=1
    )
    task = asyncio.create_task(consume(stream))
    await until(lambda: stream.checking)
    stream.stop()
    await task
    assert stream.report.succeeded
    await require_same(path, stream.report)


async def test_a_function_that_does_not_let_itself_be_cancelled(
    hub: FakeHub, client: sa.SpacesClient, tmp_path: Path
) -> None:
    """Its Space has one outcome, and no task outlives the bulk."""

    async def careful(client: sa.SpacesClient, repo_id: str) -> sa.SpaceRuntime:
        runtime = await client.lifecycle.restart(repo_id)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return runtime

    before = asyncio.all_tasks()
    path = tmp_path / "journal.jsonl"
    stream = client.bulk.stream(careful, IDS[:3], journal=path, healthy=True)
    async with stream:
        await until(lambda: hub.count("POST") == 3)
        await until(lambda: not hub.in_flight)
    assert sum(stream.report.counts.values()) == len(stream.report) == 3
    await require_same(path, stream.report)
    names = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}  # type: ignore[union-attr]
    assert not {name for name in names if "BulkStream" in name}


async def test_a_cancel_while_targets_are_read(
    client: sa.SpacesClient, tmp_path: Path
) -> None:
    """The journal is closed, and the next bulk has it."""
    path = tmp_path / "journal.jsonl"
    is_reading = asyncio.Event()

    async def targets() -> AsyncIterator[str]:
        yield IDS[0]
        is_reading.set()
        await asyncio.Event().wait()

    waves: dict[str, Any] = {"waves": [1, "100%"], "healthy": False}
    task = asyncio.create_task(client.bulk.pause(targets(), journal=path, **waves))
    await is_reading.wait()
    task.cancel()
    await asyncio.wait((task,))
    assert (await client.bulk.pause(IDS[:1], journal=path, **waves)).ok


@pytest.mark.parametrize("kind", ["journal", "store"])
async def test_a_cancel_while_a_file_is_opened(
    client: sa.SpacesClient, tmp_path: Path, kind: str
) -> None:
    """It is closed when the bulk has ended, at whatever turn it was cancelled."""
    for turns in range(0, 60, 3):
        path = tmp_path / f"{turns}.jsonl"
        where: dict[str, Any] = {kind: path if kind == "journal" else f"file://{path}"}
        task = asyncio.create_task(client.bulk.pause(IDS[:2], **where))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert (await client.bulk.pause(IDS[:2], **where)).ok


@pytest.mark.parametrize("kept", ["journal", "store"])
async def test_a_client_that_is_closed_while_its_bulk_works(
    hub: FakeHub, tmp_path: Path, kept: str
) -> None:
    """The bulk ends, and what was not sent failed with the reason."""
    hub.faults("POST *", Fault.delay(0.05), times=None)
    path = tmp_path / "j.jsonl"
    where: dict[str, Any] = {kept: path if kept == "journal" else f"file://{path}"}
    client = sa.SpacesClient(token=hub.token, endpoint=hub.url)
    task = asyncio.create_task(
        client.bulk.add_secret(IDS, key="K", value="long", concurrency=2, **where)
    )
    await until(lambda: hub.count("POST") == 2)
    await client.aclose()
    async with asyncio.timeout(30):
        report = await task
    sent = {
        "/".join(r.path.split("/")[3:5]) for r in hub.requests if r.method == "POST"
    }
    assert len(report) == len(IDS)
    for outcome in report:
        if outcome.repo_id not in sent:
            assert outcome.status in {S.FAILED, S.NOT_ATTEMPTED}, outcome


async def test_a_client_that_is_closed_while_its_bulk_waits(
    hub: FakeHub, tmp_path: Path
) -> None:
    """That says nothing of the health of a Space: it is done, and not restarted again."""
    path = tmp_path / "journal.jsonl"
    client = sa.SpacesClient(token=hub.token, endpoint=hub.url)
    stream = client.bulk.stream(operations.restart(), IDS, journal=path, wait=True)
    task = asyncio.create_task(consume(stream))
    await until(lambda: stream.checking == len(IDS))
    await client.aclose()
    await task
    assert {o.status for o in stream.report} == {S.DONE}
    await require_same(path, stream.report)


@pytest.mark.parametrize("turns", [0, 2, 5, 9, 14, 20, 30, 45])
def test_a_program_that_ends_while_it_leaves_a_run(
    new_run: Callable[[], str], turns: int
) -> None:
    """What was done is recorded, and other hosts need not wait for a lease."""
    where, reports = new_run(), list[sa.BulkReport[Any]]()
    ids = [f"acme/s{number}" for number in range(40)]

    async def main() -> None:
        async with FakeHub(quota=Quota(10_000, 300.0)) as hub:
            for repo_id in ids:
                hub.add_space(repo_id)

            async def nightly() -> None:
                async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
                    stream = client.bulk.stream(
                        operations.pause(), ids, store=where, concurrency=4
                    )
                    reports.append(stream.report)
                    await consume(stream)

            task = asyncio.create_task(nightly())
            await until(lambda: hub.count("POST") >= 14)
            task.cancel()
            # The program gives it so many turns, and ends.
            for _ in range(turns):
                await asyncio.sleep(0)

    async def look() -> sa.RunState:
        async with sa.SpacesClient(token=False) as client:
            return await client.bulk.get_run(where)

    asyncio.run(main())
    state = asyncio.run(look())
    assert state.counts[S.DONE] == len(reports[0].succeeded)
    assert not state.hosts
