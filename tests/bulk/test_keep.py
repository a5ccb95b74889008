"""What a report keeps: all outcomes, those that are not ok, or none."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.bulk._engine.parts import OutcomeBuffer
from spaces_async.bulk.report import Keep
from spaces_async.testing import FakeHub, Fault

IDS = [f"acme/s{number}" for number in range(12)]
KEEPS: list[Keep] = ["all", "failures", "none"]
each_keep = pytest.mark.parametrize("keep", KEEPS)


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """An org of 12 Spaces."""
    async with FakeHub() as hub:
        hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            hub.add_space(repo_id)
        yield hub


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The name of a journal."""
    return tmp_path / "journal.jsonl"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


async def later(ids: list[str]) -> AsyncIterator[str]:
    for repo_id in ids:
        yield repo_id


SOURCES: list[Callable[[list[str]], Any]] = [list, iter, later]


@each_keep
@pytest.mark.parametrize("source", SOURCES)
async def test_the_counts_are_those_of_all(
    client: sa.SpacesClient, hub: FakeHub, keep: Keep, source: Any
) -> None:
    """Whatever is kept: each Space is handed out once, and counted."""
    hub.add_space("acme/static", sdk="static")
    targets = [*IDS, "acme/missing", "acme/static", *IDS, "acme/missing"]
    stream = client.bulk.stream(operations.restart(), source(targets), keep=keep)
    async with stream as outcomes:
        seen = [outcome async for outcome in outcomes]
    report = stream.report
    assert sorted(o.repo_id for o in seen) == sorted(set(targets))
    assert hub.count("POST", "/restart") == 14
    assert report.counts == {
        **dict.fromkeys(S, 0),
        S.DONE: 12,
        S.FAILED: 1,
        S.SKIPPED: 1,
    }
    assert len(report) == 14
    assert not report.ok
    assert report.summary() == "restart: 12 done, 1 skipped, 1 failed"
    assert "done=12, skipped=1, failed=1" in repr(report)
    data = json.loads(json.dumps(report.to_dict()))
    assert data["keep"] == report.keep == keep
    assert data["counts"]["done"] == 12
    kept = {"all": 14, "failures": 1, "none": 0}[keep]
    assert len(report.outcomes) == len(data["outcomes"]) == kept
    assert sum(map(len, report.by_status.values())) == len(list(report)) == kept
    assert len(report.failed) == (keep != "none")


@each_keep
async def test_failures_are_raised(
    client: sa.SpacesClient, hub: FakeHub, keep: Keep
) -> None:
    """Nobody takes a bulk for a success because its failures were not kept."""
    report = await client.bulk.pause([*IDS, "acme/no", "acme/none"], keep=keep)
    with pytest.raises(sa.BulkError, match="12 done, 2 failed") as told:
        report.raise_for_failures()
    errors = told.value.exceptions
    if keep == "none":
        assert [str(e) for e in errors] == [
            "2 failed or unknown; keep='none' kept no outcome of them"
        ]
    else:
        assert [type(e) for e in errors] == [sa.SpaceNotFoundError] * 2
    good = await client.bulk.pause(IDS, keep=keep)
    assert good.ok
    good.raise_for_failures()


@each_keep
async def test_an_early_end(client: sa.SpacesClient, hub: FakeHub, keep: Keep) -> None:
    """What is left to do is kept with the failures, and can be the next bulk's target."""
    hub.faults("POST *", Fault.status(403), repo_id=IDS[2], times=1)
    report = await client.bulk.restart(IDS, keep=keep, fail_fast=True, concurrency=1)
    assert report.counts[S.DONE] == 2
    assert report.counts[S.NOT_ATTEMPTED] == 9
    assert len(report) == 12
    left = [*report.failed, *report.not_attempted]
    assert [o.repo_id for o in left] == ([] if keep == "none" else IDS[2:])
    if left:
        again = await client.bulk.restart(left, keep=keep)
        assert again.ok
        assert len(again) == 10


@each_keep
async def test_a_cancel(client: sa.SpacesClient, hub: FakeHub, keep: Keep) -> None:
    """After a cancel the counts have each Space that was begun or is in the list."""
    hub.faults("POST *", Fault.hang(acted=False), repo_id=IDS[3], times=1)
    stream = client.bulk.stream(operations.pause(), IDS, keep=keep, concurrency=1)

    async def work() -> None:
        async with stream as outcomes:
            async for outcome in outcomes:
                if outcome.repo_id == IDS[2]:
                    asyncio.current_task().cancel()  # type: ignore[union-attr]

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())
    report = stream.report
    assert report.counts[S.DONE] == 3
    assert sum(report.counts.values()) == len(report) == 12


@each_keep
async def test_with_a_journal(
    client: sa.SpacesClient, hub: FakeHub, path: Path, keep: Keep
) -> None:
    """The journal has all of it, and `resume` tells what was done before."""
    fault = hub.faults("POST *", Fault.status(403), repo_id=IDS[7], times=None)
    report = await client.bulk.restart(
        later([*IDS, "nonsense", *IDS]),
        journal=path,
        keep=keep,
        max_failures=1,
        concurrency=1,
    )
    assert report.stopped_by == "max_failures"
    assert report.counts[S.DONE] == 7
    fault.remove()
    again = await client.bulk.resume(path, targets=later(IDS), keep=keep)
    assert again.ok
    assert again.summary() == "restart: 12 done (7 of them before)"
    assert again.keep == keep
    assert hub.count("POST", "/restart") == 13
    records = lines_of(path)
    named = [r["ids"] for r in records if r["type"] == "targets"]
    assert sorted(repo_id for ids in named for repo_id in ids) == sorted(IDS)
    done = [r for r in records if r["type"] == "outcome" and r["status"] == "done"]
    assert len(done) == 12
    assert records[-1]["type"] == "end"
    last = await client.bulk.resume(path, keep=keep)
    assert last.summary() == "restart: 12 done (12 of them before)"


async def test_a_malformed_target_is_not_in_the_journal(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """It has an outcome, and the journal can still be read."""
    report = await client.bulk.pause(
        iter(["acme/s1", "nonsense"]), journal=path, keep="failures"
    )
    assert [o.repo_id for o in report] == ["nonsense"]
    assert "nonsense" not in str(lines_of(path))
    assert (await client.bulk.resume(path)).counts[S.DONE] == 1


async def test_a_word_that_is_not_known(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A slip is told before anything is sent."""
    for keep in ("failed", None, True):
        with pytest.raises(sa.ConfigurationError, match="all, failures, none"):
            await client.bulk.restart(IDS, keep=keep)  # type: ignore[arg-type]
    assert not hub.requests


@pytest.mark.unmeasured
@pytest.mark.parametrize("with_journal", [False, True])
async def test_what_a_space_takes(path: Path, with_journal: bool) -> None:
    """Memory grows by some bytes a Space, with a journal, too."""

    async def nothing(_client: sa.SpacesClient, _repo_id: str) -> None:
        """Do nothing."""

    async def taken(count: int) -> int:
        async with sa.SpacesClient(token=False) as client:
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            stream = client.bulk.stream(
                nothing,
                later([f"acme/s{number}" for number in range(count)]),
                keep="failures",
                journal=f"{path}.{count}" if with_journal else None,
                name="nothing",
            )
            async with stream as outcomes:
                async for _ in outcomes:
                    pass
            gc.collect()
            now, _ = tracemalloc.get_traced_memory()
            assert len(stream.report) == count
            return now - before

    tracemalloc.start()
    try:
        await taken(500)
        few, many = await taken(1000), await taken(6000)
    finally:
        tracemalloc.stop()
    assert many - few < 5000 * 32


async def restart(client: sa.SpacesClient, path: Path) -> sa.BulkReport[Any]:
    return await client.bulk.restart(IDS)


async def restart_with_a_journal(
    client: sa.SpacesClient, path: Path
) -> sa.BulkReport[Any]:
    return await client.bulk.restart(IDS, journal=path)


async def pause_in_waves(client: sa.SpacesClient, path: Path) -> sa.BulkReport[Any]:
    return await client.bulk.pause(IDS, waves=[2, "100%"], healthy=True)


async def apply_a_plan(client: sa.SpacesClient, path: Path) -> sa.BulkReport[Any]:
    plan = await client.bulk.plan(operations.restart(), IDS)
    return await plan.apply()


async def stream_a_function(client: sa.SpacesClient, path: Path) -> sa.BulkReport[Any]:
    async def work(client: sa.SpacesClient, repo_id: str) -> sa.SpaceRuntime:
        if repo_id == IDS[3]:
            raise ValueError
        return await client.lifecycle.get_runtime(repo_id)

    async with client.bulk.stream(work, later(IDS)) as outcomes:
        async for _ in outcomes:
            pass
    return outcomes.report


@pytest.mark.parametrize(
    "work",
    [
        restart,
        restart_with_a_journal,
        pause_in_waves,
        apply_a_plan,
        stream_a_function,
    ],
)
async def test_a_report_is_freed_with_its_last_reference(
    client: sa.SpacesClient, path: Path, work: Callable[..., Any]
) -> None:
    """No cycle keeps what a bulk held until the garbage collector looks for it."""
    await work(client, path.with_suffix(".first"))  # what is made once stays
    gc.collect()
    gc.disable()
    try:
        report = await work(client, path)
        assert len(report) == len(IDS)
        freed = weakref.ref(report)
        del report
        assert freed() is None
    finally:
        gc.enable()


async def test_a_worker_that_is_cancelled_as_it_is_woken() -> None:
    """The room that it was woken for goes to the next one."""
    buffer: OutcomeBuffer[None] = OutcomeBuffer(1)
    buffer.put(sa.Outcome("acme/a", S.DONE))
    workers = [asyncio.create_task(buffer.has_room()) for _ in range(4)]
    await asyncio.sleep(0)
    workers[2].cancel()
    buffer.take()
    workers[0].cancel()
    done, _ = await asyncio.wait(workers, timeout=10)
    assert [worker.cancelled() for worker in workers] == [True, False, True, False]
    assert len(done) == 4
