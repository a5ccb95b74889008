"""A bulk that is killed again and again, judged by what the Hub has received."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from spaces_async import SpacesClient
from spaces_async.bulk._journal.format import State, read
from spaces_async.bulk.operations import restart
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support.forker import Forker, forker

PROGRAM = Path(__file__).parents[1] / "support" / "journal_job.py"
CONCURRENCY = 16
SPACES = 150
KILLS = 100 if os.environ.get("SOAK") else 12
SHARES = {"restart": 0.5, "pause": 0.3, "factory": 0.2}
KILLS_OF_A_JOB = 5
LONG = 36_000.0


class Runner:
    """Starts processes, one at a time."""

    def __init__(self, program: Forker) -> None:
        self._program = program

    async def start(self, job: list[str]) -> tuple[int, asyncio.Task[bytes]]:
        """Return the id of the process, and a task that is done when it has ended."""
        process = await self._program.start(job)
        return process, asyncio.create_task(self._program.next_line())


@pytest_asyncio.fixture
async def runner() -> AsyncIterator[Runner]:
    """The program that forks."""
    async with forker(PROGRAM) as program:
        yield Runner(program)


class Job:
    """One bulk over all the processes that it takes."""

    def __init__(self, hub: FakeHub, folder: Path, name: str) -> None:
        self.hub = hub
        self.name = name
        self.folder = folder
        self.journal = folder / "journal.jsonl"
        self.ids = [f"acme/s{number}" for number in range(SPACES)]
        (folder / "ids").write_text("\n".join(self.ids), encoding="utf-8")
        self.kills = 0
        self.ambiguous: set[str] = set()
        self.done: set[str] = set()
        self.seen = 0
        for repo_id in self.ids:
            stage = "PAUSED" if name == "restart" else "RUNNING"
            hub.add_space(repo_id, stage=stage)

    def command(self) -> list[str]:
        begun = self.journal.exists() and self.state().lines
        name = "resume" if begun and self.kills % 2 else self.name
        where = [self.hub.url, self.hub.token, str(self.journal)]
        return [*where, name, str(self.folder / "ids"), str(self.folder / "report")]

    def state(self) -> State:
        return read(self.journal.read_bytes())[0]

    def writes(self) -> list[str]:
        """Every Space that a write was received for, in order of arrival."""
        found = [r.path.split("/") for r in self.hub.requests if r.method == "POST"]
        return [f"{parts[3]}/{parts[4]}" for parts in found]

    async def kill(self, runner: Runner, rng: random.Random) -> bool:
        """Run it until some calls have come, and kill it in the middle of more.

        Returns:
            Whether it was still at work then.
        """
        until = len(self.hub.requests) + rng.randrange(-3, 30)
        process, ended = await runner.start(self.command())
        while len(self.hub.requests) < until and not ended.done():
            await asyncio.sleep(0)
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        working = not ended.done()
        if working:
            try:
                os.kill(process, signal.SIGKILL)
                self.kills += 1
            except ProcessLookupError:
                working = False  # it has just ended, and nobody has told us yet
        await ended
        # What it had sent is on its way through the socket still.
        while self.hub.in_flight or self.hub.connections:
            await asyncio.sleep(0)
        self.judge()
        return working

    def judge(self) -> None:
        """Compare the journal after a kill with what the Hub has received."""
        writes = self.writes()
        if not self.journal.exists():
            assert not writes
            return
        entries = self.state().entries
        done = {r for r, entry in entries.items() if entry.settled}
        doubts = {r for r, entry in entries.items() if entry.in_doubt}
        assert sum(entries[r].status is None for r in doubts) <= CONCURRENCY
        assert set(writes) <= done | doubts, "sent without a durable intent"
        assert self.done <= done, "forgotten"
        assert not set(writes[self.seen :]) & self.done, "repeated"
        self.ambiguous |= doubts
        self.done = done
        self.seen = len(writes)

    async def finish(self, runner: Runner) -> dict[str, str]:
        """Run it to its end and return what became of each Space."""
        _, ended = await runner.start(self.command())
        await ended
        self.judge()
        report = json.loads((self.folder / "report").read_text(encoding="utf-8"))
        assert report["stopped_by"] is None
        return {o["repo_id"]: o["status"] for o in report["outcomes"]}


async def run_a_job(
    name: str, folder: Path, kills: int, runner: Runner, rng: random.Random
) -> Job:
    """Kill a bulk so often, let it end, and show that all is as it should be."""
    async with FakeHub(
        quota=Quota(10**6, 300.0), build_seconds=LONG, factory_seconds=LONG
    ) as hub:
        hub.faults("POST *", Fault.delay(0.004), times=None)
        job = Job(hub, folder, name)
        while job.kills < kills and await job.kill(runner, rng):
            pass
        statuses = await job.finish(runner)
        sent = Counter(job.writes())
        assert list(statuses) == job.ids
        unknown = {r for r, status in statuses.items() if status == "unknown"}
        assert unknown <= (job.ambiguous if name == "factory" else set())
        for repo_id in set(job.ids) - unknown:
            assert statuses[repo_id] == "done"
            assert sent[repo_id] == 1 or repo_id in job.ambiguous
            space = hub.space(repo_id)
            assert space.restarts + space.factory_reboots + space.pauses == 1
    return job


async def test_two_processes(tmp_path: Path, runner: Runner) -> None:
    """The second process on one journal is refused, and sends nothing."""
    async with FakeHub(build_seconds=LONG) as hub:
        job = Job(hub, tmp_path, "restart")
        async with (
            SpacesClient(token=hub.token, endpoint=hub.url) as client,
            client.bulk.stream(
                restart(), job.ids, journal=job.journal, concurrency=1
            ) as outcomes,
        ):
            await anext(outcomes)
            _, ended = await runner.start(job.command())
            await ended
            told = json.loads((tmp_path / "report").read_text(encoding="utf-8"))
            assert told["error"].startswith("JournalError: ")
            assert "in use" in told["error"]
            assert len(hub.requests) <= 3
        await job.finish(runner)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SHARES)
async def test_kills(tmp_path: Path, runner: Runner, name: str) -> None:
    """SIGKILL at random points: nothing done is repeated, nothing is left out.

    At most as many calls as run at once are in doubt after each kill. Those are settled
    by the state of their Space; of a factory reboot that does not show, it is said.
    """
    rng = random.Random(f"{name} 1")  # noqa: S311  (it has to repeat)
    left = round(KILLS * SHARES[name])
    in_doubt = 0
    while left > 0:
        folder = tmp_path / str(left)
        folder.mkdir()
        job = await run_a_job(name, folder, min(left, KILLS_OF_A_JOB), runner, rng)
        left -= job.kills
        in_doubt += len(job.ambiguous)
    assert in_doubt, "no kill has hit a call under way"
