"""Hosts that are killed, stopped and cut off, judged by what the Hub has received.

Each scene is one run on three hosts, which are processes. Something goes wrong at a
random moment, again and again. FakeHub's own log is the history, and `Judge` decides:

- Each Space is settled once, and its write took effect once, unless it is `unknown`.
- Once another host has written to a Space, the one before does not any more: nothing is
  sent after the end of a lease.
- What a lost host held is taken over within the lease and 10 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio

from spaces_async import SpacesClient, StoreError
from spaces_async._clock import Clock
from spaces_async.bulk import RunState
from spaces_async.bulk._store.url import make_store
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support.redis_server import RedisServer

PROGRAM = Path(__file__).parents[1] / "support" / "host_job.py"
SCENES = 200 if os.environ.get("SOAK") else 8
SPACES = 48
LEASE = 1.0
HOUR = 3600.0
LONG = 36_000.0
KINDS = ("kill", "stop", "redis", "cut")
OPERATIONS = ("restart", "pause", "factory", "sleep")


class Hosts:
    """Starts processes, and ends them."""

    def __init__(self, parent: asyncio.subprocess.Process) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        self.stdin, self.stdout = parent.stdin, parent.stdout
        self.processes: list[int] = []

    async def start(self, job: dict[str, Any]) -> int:
        self.stdin.write(json.dumps(job).encode() + b"\n")
        process = int(await self.stdout.readline())
        self.processes.append(process)
        return process

    def signal(self, process: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


@pytest_asyncio.fixture
async def hosts() -> AsyncIterator[Hosts]:
    """The program that forks; what it has started ends with the test."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    found = Hosts(parent)
    yield found
    for process in found.processes:
        found.signal(process, signal.SIGKILL)
    await parent.communicate(b"")


class Wire:
    """The way of one host to Redis, which can be cut for a while."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._ends: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._open.set()
        self._server.close()
        for task in list(self._ends):
            task.cancel()
        if self._ends:
            await asyncio.wait(self._ends)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._ends.add(task)
        try:
            there = await asyncio.open_connection("127.0.0.1", self._to)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, there[1]))
                both.create_task(self._pass(there[0], writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            self._ends.discard(task)
            writer.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


class Judge:
    """Says what the history of a run breaks."""

    def __init__(self, hub: FakeHub, ids: list[str]) -> None:
        self.hub = hub
        self.ids = ids

    def history(self) -> dict[str, list[tuple[str, bool]]]:
        """Return the host of each write to each Space, and whether it took effect."""
        found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        for request in self.hub.requests:
            if request.method == "POST":
                _, _, _, owner, name, *_ = request.path.split("/")
                host = request.headers["User-Agent"].partition(" ")[0]
                found[f"{owner}/{name}"].append((host, request.acted))
        return found

    def problems(self, outcomes: dict[str, str]) -> list[str]:
        """Return each rule that was broken, and by which Space."""
        found: list[str] = []
        if list(outcomes) != self.ids:
            found.append(f"settled are {len(outcomes)} of {len(self.ids)}")
        for repo_id, writes in self.history().items():
            hosts = [host for host, _ in writes]
            turns = [h for i, h in enumerate(hosts) if i == 0 or hosts[i - 1] != h]
            if len(turns) != len(set(turns)):
                found.append(f"{repo_id}: sent after the end of a lease: {hosts}")
            acted = sum(effect for _, effect in writes)
            status = outcomes.get(repo_id)
            if acted > 1 and status != "unknown":
                found.append(f"{repo_id}: took effect {acted} times, and is {status}")
        for repo_id, status in outcomes.items():
            acted = sum(effect for _, effect in self.history().get(repo_id, ()))
            if status == "done" and acted < 1:
                found.append(f"{repo_id}: is done, and nothing took effect")
            if status not in {"done", "unknown"}:
                found.append(f"{repo_id}: is {status}")
        return found


class Scene:
    """One run, and what goes wrong with it."""

    def __init__(
        self, hub: FakeHub, server: RedisServer, hosts: Hosts, folder: Path, seed: str
    ) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (it has to repeat)
        self.hub, self.server, self.hosts, self.folder = hub, server, hosts, folder
        self.name = "run-" + "".join(c for c in seed if c.isalnum())
        self.operation = self.rng.choice(OPERATIONS)
        self.ids = [f"acme/s{number}" for number in range(SPACES)]
        self.number = 0
        self.taken_over: list[float] = []
        self.log: list[str] = []
        for repo_id in self.ids:
            stage = "PAUSED" if self.operation == "restart" else "RUNNING"
            hub.add_space(repo_id, stage=stage, hardware="t4-small")

    def url(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0/{self.name}"

    async def start(self, port: int) -> int:
        """Start one more host; the first begins the run."""
        self.number += 1
        job: dict[str, Any] = {
            "endpoint": self.hub.url,
            "token": self.hub.token,
            "store": self.url(port),
            "host": f"host-{self.number}",
            "report": str(self.folder / f"report-{self.number}"),
            "concurrency": 3,
            "max_outage": 60.0,
            "off": self.rng.choice((0.0, 0.0, HOUR, -HOUR)),
        }
        if self.number == 1:
            job |= {"operation": self.operation, "ids": self.ids, "lease": LEASE}
        return await self.hosts.start(job)

    async def state(self, client: SpacesClient) -> RunState:
        while True:
            try:
                return await client.bulk.get_run(self.url(self.server.port))
            except StoreError as error:
                # It has just been started.
                if "loading its data" not in str(error):
                    raise
                await self.pause(0.01)

    async def play(self, client: SpacesClient) -> None:
        """Let three hosts work, and let some of them meet with an accident."""
        async with contextlib.AsyncExitStack() as stack:
            wires = [
                await stack.enter_async_context(Wire(self.server.port))
                for _ in range(3)
            ]
            working = [await self.start(wires[0].port)]
            await self.more_requests(1)
            working += [await self.start(wire.port) for wire in wires[1:]]
            for _ in range(self.rng.randrange(1, 4)):
                await self.more_requests(self.rng.randrange(1, 15))
                at = await self.victim(client, working)
                kind = self.rng.choice(KINDS)
                self.log.append(f"{kind} {at}")
                if kind == "kill":
                    await self.kill(client, working[at])
                    working[at] = await self.start(wires[at].port)
                elif kind == "stop":
                    self.hosts.signal(working[at], signal.SIGSTOP)
                    await self.pause(LEASE * self.rng.uniform(0.2, 2.5))
                    self.hosts.signal(working[at], signal.SIGCONT)
                elif kind == "cut":
                    wires[at].cut()
                    await self.pause(LEASE * self.rng.uniform(0.2, 2.5))
                    wires[at].mend()
                else:
                    await asyncio.to_thread(self.server.kill)
                    await self.pause(LEASE * self.rng.uniform(0.0, 0.5))
                    await asyncio.to_thread(self.server.start)
            while not (await self.state(client)).is_over:
                await self.pause(0.05)
            await self.until(self.has_reports)

    async def victim(self, client: SpacesClient, working: list[int]) -> int:
        """Return a host that has something to lose, if there is one."""
        hosts = (await self.state(client)).hosts
        busy = [at for at in range(3) if any(f":{working[at]}:" in h for h in hosts)]
        return self.rng.choice(busy or range(3))

    async def kill(self, client: SpacesClient, process: int) -> None:
        """Kill a host; see when nothing is held by it any more."""
        self.hosts.signal(process, signal.SIGKILL)
        began = time.monotonic()
        named = f":{process}:"
        while any(named in host for host in (await self.state(client)).hosts):
            await self.pause(0.02)
        self.taken_over.append(time.monotonic() - began)

    async def pause(self, seconds: float) -> None:
        """Wait for processes: nothing of them can be injected."""
        await asyncio.sleep(seconds)

    async def more_requests(self, count: int) -> None:
        seen = len(self.hub.requests) + count
        await self.until(lambda: len(self.hub.requests) >= seen)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, or the run is over."""
        while not holds():
            await self.pause(0.005)
            if self.reports():
                return

    def reports(self) -> dict[str, Any]:
        return {
            path.name: json.loads(path.read_text(encoding="utf-8"))
            for path in self.folder.glob("report-?*")
            if path.suffix != ".new"
        }

    def has_reports(self) -> bool:
        return bool(self.reports())


async def outcomes_in(where: str) -> dict[str, str]:
    """Return what the store says of each Space."""
    store = make_store(where, Clock())
    found = {r.repo_id: str(r.entry.status) async for r in store.results()}
    await store.aclose()
    return found


@pytest.mark.timeout(3000 if os.environ.get("SOAK") else 120)
@pytest.mark.parametrize("part", range(4))
async def test_nemesis(tmp_path: Path, hosts: Hosts, part: int) -> None:
    """Whatever happens to hosts and store, no rule is broken; see the module."""
    for number in range(part, SCENES, 4):
        seed = f"scene {number}"
        if os.environ.get("SOAK"):
            seed += f" {os.urandom(4).hex()}"
        folder = tmp_path / str(number)
        folder.mkdir()
        server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
        server.start()
        try:
            async with (
                FakeHub(
                    quota=Quota(10**6, 300.0),
                    build_seconds=LONG,
                    factory_seconds=LONG,
                ) as hub,
                SpacesClient(token=hub.token, endpoint=hub.url) as client,
            ):
                hub.faults("POST *", Fault.delay(0.1), times=None)
                scene = Scene(hub, server, hosts, folder, seed)
                await scene.play(client)
                store = scene.url(server.port)
                # The run is over: nothing is left for one more host.
                report = await client.bulk.work(store)
                assert not report.outcomes
                outcomes = await outcomes_in(store)
                errors = [r["error"] for r in scene.reports().values() if "error" in r]
                assert not errors, (seed, errors)
                problems = Judge(hub, scene.ids).problems(outcomes)
                assert not problems, (seed, scene.operation, scene.log, problems)
                late = [s for s in scene.taken_over if s > LEASE + 10.0]
                assert not late, (seed, scene.log, late)
        finally:
            server.kill()
