"""Hosts that are killed, stopped and cut off, judged by what the Hub has received.

Each scene is one run on three hosts, which are processes. Something goes wrong at a
random moment, again and again: a host is killed, stopped, or cut off from Redis or from
the Hub; Redis is killed, in some scenes with the loss of its last two seconds; and wall
clocks are an hour off. FakeHub's own log is the history, and `Judge` decides:

- Each Space is settled once, and its write took effect once, unless it is `unknown`.
- Each write is of the claim of the one before it, or of a later one: nothing is sent
  after the end of a lease.
- What a lost host held is taken over within the lease and 10 s.

Where the machine allows it, each host is in a network namespace, and is cut off from Redis
by taking its link down; elsewhere, and with `NEMESIS_HOSTS=processes`, by a relay that
holds what is under way. The seed, which a failure prints, says what goes wrong in a scene:
`NEMESIS_SEED="scene 7"`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio
from attrs import frozen

from spaces_async import ClientSettings, SpacesClient, StoreError
from spaces_async._clock import Clock
from spaces_async.bulk import RunState
from spaces_async.bulk._store.url import make_store
from spaces_async.testing import FakeHub, Quota
from tests.support.forker import Forker, forker
from tests.support.network import Link, Network, has_namespaces
from tests.support.redis_server import RedisServer, cut_log, log_size

PROGRAM = Path(__file__).parents[1] / "support" / "host_job.py"
SCENES = 200 if os.environ.get("SOAK") else 20
PARTS = 4
AT_ONCE = 2
HOSTS = 3
SPACES = 48
LEASE = 1.0 if os.environ.get("SOAK") else 3.0
"""Beside other tests a process may get no turn for a second."""
HOUR = 3600.0
LONG = 36_000.0
_LISTENS = "--bind 127.0.0.1 {} --protected-mode no"
_NAMED = re.compile(rb"host-\d+").search
KINDS = ("kill", "stop", "redis", "cut", "hub")
LOST_SECONDS = 1.9
"""What Redis may lose is less than 2 s."""
OPERATIONS = ("restart", "pause", "factory", "sleep")


class Hosts:
    """Starts processes, and ends them."""

    def __init__(self, program: Forker) -> None:
        self._program = program
        self.processes: list[int] = []

    async def start(self, job: dict[str, Any]) -> int:
        process = await self._program.start(job)
        self.processes.append(process)
        return process

    def signal(self, process: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


@pytest_asyncio.fixture
async def hosts() -> AsyncIterator[Hosts]:
    """The program that forks; what it has started ends with the test."""
    async with forker(PROGRAM, quiet=True) as program:
        found = Hosts(program)
        yield found
        for process in found.processes:
            found.signal(process, signal.SIGKILL)


@pytest.fixture
def networks() -> Iterator[Sequence[Network | None]]:
    """The network of each scene at a time; None where all is on this host."""
    if os.environ.get("NEMESIS_HOSTS") == "processes" or not has_namespaces():
        yield [None] * AT_ONCE
        return
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Network(HOSTS)) for _ in range(AT_ONCE)]


class Wire:
    """A way to a server, which can be cut.

    The way of a host to Redis holds what is under way. That to the Hub, which all hosts
    share, is cut for one of them, and loses it with its connection: a request that comes
    after its lease is what no fence can help (docs/hosts.md).
    """

    namespace = None

    def __init__(self, port: int, *, holds: bool, address: str = "127.0.0.1") -> None:
        self._to = port
        self._address = address
        self._holds = holds
        # The Hub acts at once, and its answers take their time: many are under way.
        self._latency = 0.0 if holds else 0.1
        self._server: asyncio.Server | None = None
        self._cut: set[str] = set()
        self._mended = asyncio.Event()
        self._ends: dict[asyncio.Task[Any], str] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._address, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._ends:
            task.cancel()
        if self._ends:
            await asyncio.wait(self._ends)

    @property
    def where(self) -> str:
        assert self._server is not None
        address, port = self._server.sockets[0].getsockname()
        return f"{address}:{port}"

    def cut(self, host: str = "") -> None:
        self._cut.add(host)
        self._mended.clear()
        for task, name in self._ends.items():
            if name == host and not self._holds:
                task.cancel()

    def mend(self, host: str = "") -> None:
        self._cut.discard(host)
        self._mended.set()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._ends[task] = ""
        try:
            first = await reader.read(65_536)
            # To the Hub a host says first who it is.
            named = _NAMED(first)
            host = self._ends[task] = named[0].decode() if named else ""
            if not self._holds and host in self._cut:
                return
            there = await asyncio.open_connection("127.0.0.1", self._to)
            there[1].write(first)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(host, reader, there[1]))
                both.create_task(self._pass(host, there[0], writer, self._latency))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            del self._ends[task]
            writer.close()

    async def _pass(
        self,
        host: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        latency: float = 0.0,
    ) -> None:
        try:
            while data := await reader.read(65_536):
                await asyncio.sleep(latency)
                while host in self._cut:
                    self._mended.clear()
                    await self._mended.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@frozen
class Write:
    """A write that the Hub has received.

    Attributes:
        host: Who sent it.
        acted: Whether it took effect.
        may_be_late: Whether it is the first of a host that had been stopped. It may have
            been stopped between its last look at the lease and the send, which takes
            milliseconds on a busy machine, and which no fence can help.
    """

    host: str
    acted: bool
    may_be_late: bool


class Judge:
    """Says what the history of a run breaks."""

    def __init__(
        self,
        hub: FakeHub,
        ids: list[str],
        claims: Path,
        resumed: Sequence[tuple[str, int]],
    ) -> None:
        """Read the claims.

        Args:
            hub: What it has received.
            ids: The Spaces of the run.
            claims: The file that the hosts write them to.
            resumed: Each host that was stopped, and how many requests the Hub had
                received when it went on.
        """
        self.hub = hub
        self.ids = ids
        self.resumed = resumed
        self.claims: dict[str, list[str]] = defaultdict(list)
        for line in claims.read_text(encoding="utf-8").splitlines():
            host, block = json.loads(line)
            for repo_id in block:
                self.claims[repo_id].append(host)

    def history(self) -> dict[str, list[Write]]:
        """Return the writes to each Space."""
        found: dict[str, list[Write]] = defaultdict(list)
        going_on = sorted(self.resumed, key=itemgetter(1))
        resumed = set[str]()
        for number, request in enumerate(self.hub.requests):
            while going_on and going_on[0][1] <= number:
                resumed.add(going_on.pop(0)[0])
            if request.method == "POST":
                _, _, _, owner, name, *_ = request.path.split("/")
                host = request.headers["User-Agent"].partition(" ")[0]
                write = Write(host, request.acted, host in resumed)
                resumed.discard(host)
                found[f"{owner}/{name}"].append(write)
        return found

    def problems(
        self, state: RunState, outcomes: dict[str, str], *, was_late: bool
    ) -> list[str]:
        """Return each rule that was broken, and by which Space.

        Args:
            state: How far the run says that it is.
            outcomes: Of each Space.
            was_late: Whether the Hub stood still for so long that a request may have come
                to it after its attempt. Then the order of arrival is none of sending.
        """
        found: list[str] = []
        if list(outcomes) != self.ids or state.finished != len(self.ids):
            found.append(f"settled are {state.finished} of {len(self.ids)}: {outcomes}")
        history = self.history()
        for repo_id, writes in history.items():
            if was_late:
                break
            in_time = [write for write in writes if not write.may_be_late]
            status = outcomes.get(repo_id)
            if self.broken(repo_id, in_time, status):
                found += self.broken(repo_id, writes, status)
        for repo_id, status in outcomes.items():
            acted = sum(write.acted for write in history.get(repo_id, ()))
            if status == "done" and acted < 1:
                found.append(f"{repo_id}: is done, and nothing took effect")
            if status not in {"done", "unknown"}:
                found.append(f"{repo_id}: is {status}")
        return found

    def broken(
        self, repo_id: str, writes: Sequence[Write], status: str | None
    ) -> list[str]:
        """Return each rule that the writes to a Space break."""
        found: list[str] = []
        hosts = [write.host for write in writes]
        if not self.are_fenced(repo_id, hosts):
            claims = self.claims[repo_id]
            found.append(f"{repo_id}: sent after a lease: {hosts}, {claims}")
        acted = sum(write.acted for write in writes)
        if acted > 1 and status != "unknown":
            found.append(f"{repo_id}: took effect {acted} times, and is {status}")
        return found

    def are_fenced(self, repo_id: str, hosts: list[str]) -> bool:
        """Return whether each write is of the claim of the one before, or of a later one."""
        claims = iter(self.claims[repo_id])
        holder = None
        for host in hosts:
            while holder != host:
                holder = next(claims, None)
                if holder is None:
                    return False
        return True


class Scene:
    """One run, and what goes wrong with it."""

    def __init__(
        self,
        hub: FakeHub,
        endpoint: str,
        hosts: Hosts,
        network: Network | None,
        *,
        folder: Path,
        seed: str,
    ) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (it has to repeat)
        self.hub, self.endpoint = hub, endpoint
        self.network = network
        self.hosts, self.folder = hosts, folder
        self.claims = folder / "claims"
        self.loses = self.rng.random() < 0.2
        self.server = RedisServer(
            folder,
            *("--appendonly", "yes"),
            *("--appendfsync", "everysec" if self.loses else "always"),
            *(() if network is None else _LISTENS.format(network.redis).split()),
        )
        self.sizes: list[tuple[float, int]] = []
        self.stood_still = 0.0
        self.name = "run-" + "".join(c for c in seed if c.isalnum())
        self.operation = self.rng.choice(OPERATIONS)
        self.ids = [f"acme/s{number}" for number in range(SPACES)]
        self.number = 0
        self.taken_over: list[float] = []
        self.resumed: list[tuple[str, int]] = []
        self.log: list[str] = []
        for repo_id in self.ids:
            stage = "PAUSED" if self.operation == "restart" else "RUNNING"
            hub.add_space(repo_id, stage=stage, hardware="t4-small")

    def url(self, where: str = "") -> str:
        where = where or f"127.0.0.1:{self.server.port}"
        return f"redis://{where}/0/{self.name}"

    async def ways(self, stack: contextlib.AsyncExitStack) -> Sequence[Link | Wire]:
        """Return the way of each host to Redis."""
        port = self.server.port
        if self.network is not None:
            return self.network.links(port)
        wires = [Wire(port, holds=True) for _ in range(HOSTS)]
        return [await stack.enter_async_context(wire) for wire in wires]

    async def start(self, to_redis: Link | Wire) -> tuple[int, str]:
        """Start one more host; the first begins the run. Return its process and name."""
        self.number += 1
        name = f"host-{self.number}"
        job: dict[str, Any] = {
            "endpoint": self.endpoint,
            "token": self.hub.token,
            "namespace": to_redis.namespace,
            "store": self.url(to_redis.where),
            "host": name,
            "claims": str(self.claims),
            "report": str(self.folder / f"report-{self.number}"),
            "concurrency": 3,
            "max_outage": 60.0,
            "off": self.rng.choice((0.0, 0.0, HOUR, -HOUR)),
        }
        if self.number == 1:
            job |= {"operation": self.operation, "ids": self.ids, "lease": LEASE}
        return await self.hosts.start(job), name

    async def state(self, client: SpacesClient) -> RunState:
        while True:
            try:
                return await client.bulk.get_run(self.url())
            except StoreError as error:
                # It has just been started.
                if "loading its data" not in str(error):
                    raise
                await self.pause(0.02)

    async def play(self, client: SpacesClient, to_hub: Wire) -> None:
        """Let three hosts work, and let some of them meet with an accident."""
        async with contextlib.AsyncExitStack() as stack:
            ways = await self.ways(stack)
            watching = asyncio.create_task(self.watch_the_loop())
            stack.callback(watching.cancel)
            if self.loses:
                noting = asyncio.create_task(self.note_sizes())
                stack.callback(noting.cancel)
            working = [await self.start(ways[0])]
            await self.until(self.claims.exists)
            working += [await self.start(way) for way in ways[1:]]
            for _ in range(self.rng.randrange(1, 4)):
                await self.more_requests(self.rng.randrange(1, 15))
                at = await self.victim(client, working)
                process, name = working[at]
                kind = self.rng.choice(KINDS)
                self.log.append(f"{kind} {name}")
                if kind == "kill":
                    await self.kill(client, process)
                    working[at] = await self.start(ways[at])
                elif kind == "stop":
                    self.hosts.signal(process, signal.SIGSTOP)
                    await self.pause(LEASE * self.rng.uniform(0.2, 2.5))
                    self.resumed.append((name, len(self.hub.requests)))
                    self.hosts.signal(process, signal.SIGCONT)
                elif kind == "cut":
                    ways[at].cut()
                    await self.pause(LEASE * self.rng.uniform(0.2, 2.5))
                    ways[at].mend()
                elif kind == "hub":
                    to_hub.cut(name)
                    await self.pause(LEASE * self.rng.uniform(0.2, 2.5))
                    to_hub.mend(name)
                else:
                    await asyncio.to_thread(self.server.kill)
                    if self.loses:
                        self.lose(self.rng.uniform(0.0, LOST_SECONDS))
                    await self.pause(LEASE * self.rng.uniform(0.0, 0.5))
                    await asyncio.to_thread(self.server.start)
            while not (await self.state(client)).is_over:
                await self.pause(0.05)
            await self.until(self.has_reports)

    async def victim(self, client: SpacesClient, working: list[tuple[int, str]]) -> int:
        """Return a host that has something to lose, if there is one."""
        hosts = (await self.state(client)).hosts
        busy = [
            at for at in range(HOSTS) if any(f":{working[at][0]}:" in h for h in hosts)
        ]
        return self.rng.choice(busy or range(HOSTS))

    async def kill(self, client: SpacesClient, process: int) -> None:
        """Kill a host; see when nothing is held by it any more."""
        self.hosts.signal(process, signal.SIGKILL)
        began = time.monotonic()
        named = f":{process}:"
        while any(named in host for host in (await self.state(client)).hosts):
            await self.pause(0.05)
        self.taken_over.append(time.monotonic() - began)

    async def watch_the_loop(self) -> None:
        """Note for how long this process, and the Hub in it, stood still."""
        while True:
            before = time.monotonic()
            await self.pause(0.02)
            self.stood_still = max(self.stood_still, time.monotonic() - before)

    async def note_sizes(self) -> None:
        """Note again and again how long the log of Redis is."""
        while True:
            self.sizes.append((time.monotonic(), log_size(self.folder)))
            await self.pause(0.05)

    def lose(self, seconds: float) -> None:
        """Let a Redis that has ended have lost its last seconds."""
        then = time.monotonic() - seconds
        size = next((n for at, n in reversed(self.sizes) if at <= then), None)
        if size is not None:
            cut_log(self.folder, size)
            self.sizes.clear()

    async def pause(self, seconds: float) -> None:
        """Wait for processes: nothing of them can be injected."""
        await asyncio.sleep(seconds)

    async def more_requests(self, count: int) -> None:
        seen = len(self.hub.requests) + count
        await self.until(lambda: len(self.hub.requests) >= seen)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, or the run is over."""
        while not holds():
            await self.pause(0.01)
            if self.has_reports():
                return

    def reports(self) -> dict[str, Any]:
        return {
            path.name: json.loads(path.read_text(encoding="utf-8"))
            for path in self.folder.glob("report-?*")
            if path.suffix != ".new"
        }

    def has_reports(self) -> bool:
        return any(self.folder.glob("report-?"))


async def outcomes_in(where: str) -> dict[str, str]:
    """Return what the store says of each Space."""
    store = make_store(where, Clock())
    found = {r.repo_id: str(r.entry.status) async for r in store.results()}
    await store.aclose()
    return found


async def play_scene(
    number: int, hosts: Hosts, network: Network | None, folder: Path
) -> None:
    """Play a scene, and judge it."""
    seed = os.environ.get("NEMESIS_SEED", f"scene {number}")
    if os.environ.get("SOAK") and "NEMESIS_SEED" not in os.environ:
        seed += f" {os.urandom(4).hex()}"
    folder.mkdir()  # noqa: ASYNC240  (it takes no time)
    async with (
        FakeHub(
            quota=Quota(10**6, 300.0), build_seconds=LONG, factory_seconds=LONG
        ) as hub,
        Wire(
            int(hub.url.rpartition(":")[2]),
            holds=False,
            address="127.0.0.1" if network is None else network.hub,
        ) as to_hub,
        SpacesClient(
            token=hub.token,
            endpoint=f"http://{to_hub.where}",
            # The address of a bridge is not taken for this host.
            settings=ClientSettings(allow_insecure_http=True),
        ) as client,
    ):
        endpoint = str(client.endpoint)
        scene = Scene(hub, endpoint, hosts, network, folder=folder, seed=seed)
        scene.server.start()
        try:
            await scene.play(client, to_hub)
            store = scene.url()
            # The run is over: nothing is left for one more host.
            report = await client.bulk.work(store)
            state, outcomes = await scene.state(client), await outcomes_in(store)
        finally:
            scene.server.kill()
    was_late = scene.stood_still > LEASE / 4
    if was_late:
        print(f"{seed}: stood still for {scene.stood_still:.2f} s")  # noqa: T201
    judge = Judge(hub, scene.ids, scene.claims, scene.resumed)
    found = judge.problems(state, outcomes, was_late=was_late)
    found += [r["error"] for r in scene.reports().values() if "error" in r]
    found += [f"{len(report)} were left"] if report.outcomes else []
    late = [seconds for seconds in scene.taken_over if seconds > LEASE + 10.0]
    found += [f"taken over after {late} s"] if late else []
    where = "processes" if network is None else "namespaces"
    said = f"NEMESIS_SEED={seed!r}, {where}: {scene.operation}, {scene.log}"
    assert not found, "\n".join((said, *found))


@pytest.mark.unmeasured
@pytest.mark.timeout(3000 if os.environ.get("SOAK") else 120)
@pytest.mark.parametrize("part", range(PARTS))
async def test_nemesis(
    tmp_path: Path, networks: Sequence[Network | None], hosts: Hosts, part: int
) -> None:
    """Whatever happens to hosts and store, no rule is broken; see the module."""
    numbers = iter(range(part, SCENES, PARTS))

    async def some(network: Network | None) -> None:
        for number in numbers:
            await play_scene(number, hosts, network, tmp_path / str(number))

    # A scene waits most of the time.
    async with asyncio.TaskGroup() as group:
        for network in networks:
            group.create_task(some(network))
