"""Cancelling a bulk with a journal at any turn, the flushes to the disk among them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import BulkReport, BulkStream, JournalError, operations
from spaces_async.bulk._journal.format import State, read
from spaces_async.bulk._journal.writer import _File
from spaces_async.testing import FakeHub
from tests.support.cut import (
    HOWS,
    MOST_TURNS,
    cut,
    governor_opens,
    nothing_is_left,
    open_files,
    turn,
)
from tests.support.virtual import play, put_disk_in

IDS = [f"acme/s{number}" for number in range(5)]
DISK_TURNS = 3
"""How many turns of the loop the disk takes for anything."""


@asynccontextmanager
async def hub_and_client() -> AsyncGenerator[tuple[FakeHub, sa.SpacesClient], None]:
    """Paused Spaces that take for ever to build, and a disk that takes some turns."""
    loop: Any = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        put_disk_in(loop, pool, turns=DISK_TURNS)
        async with FakeHub(build_seconds=10**9) as hub:
            hub.add_org("acme", members={"tester": "write"})
            for repo_id in ("acme/demo", *IDS):
                hub.add_space(repo_id, stage="PAUSED")
            async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
                yield hub, client


def restarts(hub: FakeHub) -> dict[str, int]:
    return {repo_id: hub.space(repo_id).restarts for repo_id in IDS}


class Job:
    """A bulk of restarts that is cut, and then ended by another one."""

    def __init__(self, hub: FakeHub, client: sa.SpacesClient, path: Path) -> None:
        self.hub, self.client, self.path = hub, client, path
        self.before = restarts(hub)
        self.stream: BulkStream[Any] | None = None
        for repo_id in IDS:
            hub.set_stage(repo_id, "PAUSED")

    async def run(self) -> None:
        self.stream = self.client.bulk.stream(
            operations.restart(), IDS, journal=self.path, concurrency=2
        )
        async with self.stream as outcomes:
            async for _ in outcomes:
                pass

    def sent(self) -> dict[str, int]:
        """How often each Space has been restarted in this job."""
        return {r: n - self.before[r] for r, n in restarts(self.hub).items()}

    def state(self) -> State:
        return read(self.path.read_bytes())[0] if self.path.exists() else State()

    def judge(self) -> State:
        """The journal can be read, it and the report say what the Hub has done."""
        state, sent = self.state(), self.sent()
        done = {r for r, entry in state.entries.items() if entry.settled}
        assert all(sent[r] == 1 for r in done)
        doubts = {r for r, _ in state.in_doubt}
        assert {r for r in IDS if sent[r]} <= done | doubts
        assert self.stream is not None
        report = self.stream.report
        assert len({o.repo_id for o in report}) == len(report)
        for outcome in report:
            allowed = {S.DONE: {1}, S.UNKNOWN: {0, 1}, S.NOT_ATTEMPTED: {0}}
            assert sent[outcome.repo_id] in allowed[outcome.status], outcome
        assert {o.repo_id for o in report.succeeded} == done
        return state

    async def finish(self, state: State) -> BulkReport[Any]:
        """Go on with it, by `resume` where the journal names all targets."""
        # A file that was being opened when it was cut is closed a moment later.
        for _ in range(2 * DISK_TURNS + 2):
            with contextlib.suppress(JournalError):
                if state.complete:
                    return await self.client.bulk.resume(self.path)
                return await self.client.bulk.restart(IDS, journal=self.path)
            await turn()
        return pytest.fail("the journal is not free")


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("how", HOWS)
def test_a_bulk_that_is_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """Journal and report are true then, and the next bulk does the rest and no more.

    What has a durable result is not sent again, nothing is left out, and nothing is
    held: no task, no connection, no lock, no file.
    """

    async def scene() -> None:
        async with hub_and_client() as (hub, client):
            await client.lifecycle.get_runtime("acme/demo")
            before, files = asyncio.all_tasks(), open_files()
            for turns in count():
                assert turns < MOST_TURNS
                job = Job(hub, client, tmp_path / f"{turns}.jsonl")
                over = await cut(job.run, how, turns)
                await nothing_is_left(hub, client, before)
                if job.stream is None:
                    continue
                state = job.judge()
                done = [r for r, entry in state.entries.items() if entry.settled]
                hub.requests.clear()
                report = await job.finish(state)
                assert [o.status for o in report] == [S.DONE] * len(IDS)
                assert not [r for r in hub.requests if r.path[12:-8] in done]
                assert set(job.sent().values()) == {1}
                await nothing_is_left(hub, client, before)
                assert open_files() == files
                if over:
                    assert turns > 40
                    break
            await governor_opens(client)

    play(monkeypatch, scene)


def test_a_file_that_is_closed_before_it_is_open(tmp_path: Path) -> None:
    """Two threads may come in any order: what is given up is not opened any more."""
    file, files = _File(str(tmp_path / "journal.jsonl")), open_files()
    file.close()
    with pytest.raises(OSError, match="closed"):
        file.open()
    assert open_files() == files
