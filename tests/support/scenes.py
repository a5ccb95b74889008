"""Random scenes: a client, a Hub with faults, and an oracle that knows what happened.

A seed makes a scene, and the same scene each time. It is played in virtual time. Then
what the client said is compared with the Hub's own log: nothing is done twice that must
not be, "nothing happened" is said only where nothing did, "done" only where it was, and
what is in doubt is said to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

from attrs import define, field, frozen

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import JournalError, operations
from spaces_async.bulk._journal import writer
from spaces_async.bulk._journal.format import State, read
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support.virtual import VirtualClock, put_disk_in

_NEVER: Final = 1e9
_BUILDS: Final = (2.0, 8.0, 15.0, 30.0, _NEVER)
"""The shortest one and the start of the app end as soon as the client thinks possible."""

_DISK_TURNS: Final = 2
_THREAD: Final = ThreadPoolExecutor(1)
_SECRET: Final = "a-secret-value"
_ENDS: Final = (
    *("none", "deadline", "cancel", "kill", "kill", "break"),
    *("max_failures", "fail_fast", "disk"),
)
_POLICIES: Final = (
    *(sa.RetryPolicy(), sa.RetryPolicy(), sa.RetryPolicy.off()),
    sa.RetryPolicy(verify=False),
)
_STAGES: Final = ("RUNNING", "PAUSED", "SLEEPING", "RUNTIME_ERROR")

MakeFault = Callable[[random.Random], Fault]
FAULTS: Final[tuple[MakeFault, ...]] = (
    lambda _: Fault.status(503),
    lambda r: Fault.status(502, acted=r.random() < 0.5),
    lambda _: Fault.status(500, acted=True),
    lambda _: Fault.status(429),
    lambda r: Fault.rate_limit(r.choice([None, 1, 7])),
    lambda r: Fault.action_limit(retry_after=r.choice([None, 3])),
    lambda r: Fault.status(503, headers={"Retry-After": str(r.choice([1, 5, 40]))}),
    lambda r: Fault.reset(acted=r.random() < 0.5),
    lambda r: Fault.disconnect(acted=r.random() < 0.5),
    lambda _: Fault.truncated(),
    lambda _: Fault.invalid_json(),
    lambda _: Fault.empty(),
    lambda r: Fault.html(status=r.choice([502, 503, 504]), acted=r.random() < 0.5),
    lambda r: Fault.hang(acted=r.random() < 0.5),
    lambda r: Fault.delay(r.uniform(0.1, 50)),
    lambda _: Fault.status(403),
    lambda _: Fault.status(401),
    lambda _: Fault.status(409),
    lambda r: Fault.status(408, acted=r.random() < 0.5),
    lambda _: Fault.raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    lambda _: Fault.raw(b"SSH-2.0\r\n"),
    lambda _: Fault.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", acted=True),
)
# After a lost delete, a 404 is the proof; a Hub that lies there cannot be seen through.
# A redirected read ends with a 404 as well.
FAULTS_OF_OTHERS: Final[tuple[MakeFault, ...]] = (
    *FAULTS,
    lambda _: Fault.status(404),
    lambda _: Fault.redirect("/x"),
)
_ROUTES: Final = ("POST *", "DELETE *", "GET /runtime", "GET /api/spaces", "GET *", "*")


DEMO: Final = "acme/demo"
_VOLUME: Final = "hf://models/a/b:/m"


# What is done --------------------------------------------------------------------


async def _restart(client: sa.SpacesClient, repo_id: str) -> Any:
    return await client.lifecycle.restart(repo_id)


async def _restart_in_time(client: sa.SpacesClient, repo_id: str) -> Any:
    async with asyncio.timeout(20):
        return await client.lifecycle.restart(repo_id)


async def _restart_and_read(client: sa.SpacesClient, repo_id: str) -> Any:
    await client.lifecycle.restart(repo_id)
    return await client.lifecycle.get_runtime(repo_id)


async def _tidy_and_restart(client: sa.SpacesClient, repo_id: str) -> Any:
    await client.config.delete_variable(repo_id, "OLD")
    return await client.lifecycle.restart(repo_id)


def _is_paused(hub: FakeHub, repo_id: str) -> bool:
    return hub.space(repo_id).stage == "PAUSED"


def _has_variable(hub: FakeHub, repo_id: str) -> bool:
    variable = hub.space(repo_id).variables.get("K")
    return variable is not None and variable.value == "v"


def _has_secret(hub: FakeHub, repo_id: str) -> bool:
    secret = hub.space(repo_id).secrets.get("K")
    return secret is not None and secret.value == _SECRET


@frozen
class Job:
    """Something to do to each Space.

    Attributes:
        make: Makes the operation, or is the function.
        once: The end of the path of what must not happen twice; None if it may.
        reached: Whether a Space is as wanted; None asks whether the Hub has acted.
        keys: How many writes it is for each Space. One that failed may be done in part.
    """

    make: Callable[[], Any]
    once: str | None = None
    reached: Callable[[FakeHub, str], bool] | None = None
    keys: int = 1


JOBS: Final = {
    "restart": Job(operations.restart, "/restart"),
    "factory reboot": Job(lambda: operations.restart(factory_reboot=True), "/restart"),
    "pause": Job(operations.pause, reached=_is_paused),
    "add variable": Job(lambda: operations.add_variable("K", "v"), None, _has_variable),
    "add secret": Job(lambda: operations.add_secret("K", _SECRET), None, _has_secret),
    "delete variable": Job(
        lambda: operations.delete_variable("OLD"),
        reached=lambda hub, repo_id: "OLD" not in hub.space(repo_id).variables,
    ),
    "sleep time": Job(
        lambda: operations.set_sleep_time(7200),
        reached=lambda hub, repo_id: hub.space(repo_id).sleep_time == 7200,
    ),
    "hardware": Job(
        lambda: operations.request_hardware("t4-small"),
        reached=lambda hub, repo_id: hub.space(repo_id).hardware == "t4-small",
    ),
    "replicas": Job(
        lambda: operations.set_replicas(2),
        reached=lambda hub, repo_id: hub.space(repo_id).replicas == 2,
    ),
    "dev mode": Job(
        lambda: operations.set_dev_mode(True),
        reached=lambda hub, repo_id: hub.space(repo_id).dev_mode,
    ),
    "visibility": Job(
        lambda: operations.set_visibility("private"),
        reached=lambda hub, repo_id: hub.space(repo_id).private,
    ),
    "volumes": Job(
        lambda: operations.set_volumes([sa.Volume.from_uri(_VOLUME)]),
        reached=lambda hub, repo_id: bool(hub.space(repo_id).volumes),
    ),
    "no volumes": Job(
        operations.delete_volumes,
        reached=lambda hub, repo_id: not hub.space(repo_id).volumes,
    ),
    "storage": Job(
        lambda: operations.request_storage("small"),
        reached=lambda hub, repo_id: hub.space(repo_id).storage == "small",
    ),
    "two variables": Job(
        lambda: operations.add_variables({"K": "v", "L": "w"}), None, _has_variable, 2
    ),
    "two secrets": Job(
        lambda: operations.add_secrets({"K": _SECRET, "L": "b"}), None, _has_secret, 2
    ),
    "delete": Job(
        operations.delete, "/delete", lambda hub, repo_id: repo_id not in hub.spaces
    ),
    "call restart": Job(lambda: _restart, "/restart"),
    "call in time": Job(lambda: _restart_in_time, "/restart"),
    "call and read": Job(lambda: _restart_and_read, "/restart"),
    "call twice": Job(lambda: _tidy_and_restart, "/restart"),
}


@frozen
class Single:
    """A single call.

    Attributes:
        call: Makes it.
        method: Its method.
        end: The end of its path.
        once: Whether it must not happen twice.
    """

    call: Callable[[sa.SpacesClient], Awaitable[Any]]
    method: str
    end: str
    once: bool = False


SINGLES: Final = {
    "restart": Single(lambda c: c.lifecycle.restart(DEMO), "POST", "/restart", True),
    "factory reboot": Single(
        lambda c: c.lifecycle.restart(DEMO, factory_reboot=True),
        *("POST", "/restart", True),
    ),
    "pause": Single(lambda c: c.lifecycle.pause(DEMO), "POST", "/pause"),
    "create": Single(
        lambda c: c.lifecycle.create("acme/new", sdk="gradio"), "POST", "/create", True
    ),
    "create, any": Single(
        lambda c: c.lifecycle.create("acme/new", sdk="gradio", exist_ok=True),
        *("POST", "/create", True),
    ),
    "duplicate": Single(
        lambda c: c.lifecycle.duplicate(DEMO, "acme/copy"), "POST", "/duplicate", True
    ),
    "move": Single(
        lambda c: c.lifecycle.move(DEMO, "acme/other"), "POST", "/move", True
    ),
    "delete": Single(lambda c: c.lifecycle.delete(DEMO), "DELETE", "/delete", True),
    "delete, any": Single(
        lambda c: c.lifecycle.delete(DEMO, missing_ok=True),
        *("DELETE", "/delete", True),
    ),
    "add variable": Single(
        lambda c: c.config.add_variable(DEMO, "K", "v"), "POST", "/variables"
    ),
    "add secret": Single(
        lambda c: c.config.add_secret(DEMO, "K", _SECRET), "POST", "/secrets"
    ),
    "delete secret": Single(
        lambda c: c.config.delete_secret(DEMO, "S"), "DELETE", "/secrets"
    ),
    "delete variable": Single(
        lambda c: c.config.delete_variable(DEMO, "OLD"), "DELETE", "/variables"
    ),
    "hardware": Single(
        lambda c: c.hardware.request_hardware(DEMO, "t4-small"), "POST", "/hardware"
    ),
    "sleep time": Single(
        lambda c: c.hardware.set_sleep_time(DEMO, 7200), "POST", "/sleeptime"
    ),
    "replicas": Single(lambda c: c.hardware.set_replicas(DEMO, 2), "POST", "/replicas"),
    "dev mode": Single(
        lambda c: c.config.set_dev_mode(DEMO, True), "POST", "/dev-mode"
    ),
    "visibility": Single(
        lambda c: c.config.set_visibility(DEMO, "private"), "PUT", "/settings"
    ),
    "domain": Single(
        lambda c: c.config.set_custom_domain(DEMO, "x.example.com"),
        *("POST", "/custom-domain"),
    ),
    "volumes": Single(
        lambda c: c.storage.set_volumes(DEMO, [sa.Volume.from_uri(_VOLUME)]),
        *("PUT", "/volumes"),
    ),
}
_MAY_BE_SO: Final = {"delete, any", "create, any"}
"""These return without an act where there is nothing to do."""


# The oracle ----------------------------------------------------------------------


@define
class Log:
    """What the Hub has done and received for each Space, up to a moment."""

    acted: Counter[str] = field(factory=Counter[str])
    sent: Counter[str] = field(factory=Counter[str])
    once: Counter[str] = field(factory=Counter[str])

    @classmethod
    def of(cls, hub: FakeHub, end: str | None) -> Log:
        """Read the Hub's log.

        Args:
            hub: The Hub.
            end: The end of the path of what must not happen twice.
        """
        log = cls()
        for request in hub.requests:
            if request.method == "GET":
                continue
            repo_id = _subject(request)
            log.sent[repo_id] += 1
            log.acted[repo_id] += request.acted
            if end is not None and request.path.endswith(end):
                log.once[repo_id] += request.acted
        return log


def _subject(request: Any) -> str:
    parts = request.path.split("/")
    if parts[2] == "repos":
        body = request.json if isinstance(request.json, dict) else {}
        owner, name = body.get("organization"), body.get("name")
        return f"{owner}/{name}" if owner else str(name)
    return f"{parts[3]}/{parts[4]}"


@define
class Round:
    """One bulk of a scene, and what is wrong with its report.

    Attributes:
        label: What it is.
        job: What it does.
        hub: The Hub.
        problems: What is wrong; added to.
        failed_before: The Spaces that the bulk before it reported as failed.
    """

    label: str
    job: Job
    hub: FakeHub
    problems: list[str]
    failed_before: frozenset[str] = frozenset()

    def check(self, report: sa.BulkReport[Any], log: Log) -> None:
        """Compare a report with the Hub's log."""
        for outcome in report:
            repo_id, acted = outcome.repo_id, log.acted[outcome.repo_id]
            if (
                outcome.status in {S.FAILED, S.NOT_ATTEMPTED}
                and acted
                and not self._is_in_part(outcome)
            ):
                self.say(f"{repo_id} is {outcome.status}, acted {acted}", outcome)
            if outcome.status is S.DONE and not self._is_so(repo_id, acted):
                self.say(f"{repo_id} is done, and the Hub did nothing", outcome)
            if outcome.status is S.UNCHANGED and not self._is_so(repo_id, acted):
                self.say(f"{repo_id} is unchanged, and not as wanted", outcome)
            error = outcome.error
            if isinstance(error, sa.SpacesError):
                unknown = outcome.status is S.UNKNOWN
                if error.outcome_unknown is not unknown:
                    self.say(f"{repo_id}: the doubt is told differently", outcome)

    def _is_in_part(self, outcome: sa.Outcome[Any]) -> bool:
        """Return whether it is told that some of the keys were written.

        If its turn does not come in a bulk, the one before has told it.
        """
        several, before = self.job.keys > 1, outcome.repo_id in self.failed_before
        if outcome.status is S.NOT_ATTEMPTED and several and before:
            return True
        notes = getattr(outcome.error, "__notes__", ())
        return any(f"of {self.job.keys} were done" in note for note in notes)

    def _is_so(self, repo_id: str, acted: int) -> bool:
        return acted > 0 or (
            self.job.reached is not None and self.job.reached(self.hub, repo_id)
        )

    def check_targets(
        self, report: sa.BulkReport[Any], ids: list[str], *, whole: bool, log: Log
    ) -> None:
        """Each Space has one outcome; of iterators, each that was read."""
        names = [outcome.repo_id for outcome in report]
        wanted = set(ids) if whole else {i for i in ids if log.sent[i]}
        if len(set(names)) != len(names):
            self.say("a Space has two outcomes")
        if missing := sorted(wanted - set(names)):
            self.say(f"no outcome: {missing}")

    def check_journal(self, state: State, log: Log) -> None:
        """What was sent is announced, and what the Hub did is done or in doubt."""
        for repo_id, sent in log.sent.items():
            entry = state.entries.get(repo_id)
            if sent and (entry is None or entry.sent_at is None):
                self.say(f"{repo_id} was sent, and the journal does not have it")
            elif self.job.keys > 1:
                continue  # The keys that were written are written again.
            elif log.acted[repo_id] and entry and not (entry.settled or entry.in_doubt):
                self.say(f"the Hub acted on {repo_id}, the journal says {entry.status}")

    def check_twice(self, log: Log) -> None:
        """Nothing that must not happen twice did."""
        for repo_id, times in log.once.items():
            if times > 1:
                self.say(f"{repo_id}: done {times} times")

    def check_repeats(self, state: State, before: Log, log: Log) -> None:
        """What the journal has as done is not sent again."""
        for repo_id, entry in state.entries.items():
            if entry.settled and log.sent[repo_id] > before.sent[repo_id]:
                self.say(f"{repo_id} was done, and sent again")

    def check_all_worked_on(self, report: sa.BulkReport[Any]) -> None:
        """Without faults and limits, each Space is done or in doubt.

        A factory reboot is refused for a paused one, and a function of its own may
        give up while it waits for the quota.
        """
        for outcome in report:
            refused = isinstance(outcome.error, sa.ConflictError | TimeoutError)
            if not outcome.ok and outcome.status is not S.UNKNOWN and not refused:
                self.say(f"{outcome.repo_id} was left out", outcome)

    def say(self, problem: str, outcome: Any = None) -> None:
        """Add a problem."""
        shown = "" if outcome is None else f" ({outcome.status}, {outcome.error!r})"
        self.problems.append(f"{self.label}: {problem}{shown}")


# The scenes ----------------------------------------------------------------------


def begin(*, eager: bool) -> None:
    """Prepare the running loop of a scene."""
    loop: Any = asyncio.get_running_loop()
    put_disk_in(loop, _THREAD, turns=_DISK_TURNS)
    if eager:
        loop.set_task_factory(cast("Any", asyncio).eager_task_factory)


def _faults(end: str | None) -> tuple[MakeFault, ...]:
    return FAULTS if end == "/delete" else FAULTS_OF_OTHERS


def _break_at_random(
    rng: random.Random, hub: FakeHub, ids: list[str], faults: tuple[MakeFault, ...]
) -> None:
    for _ in range(rng.choice([0, 1, 2, 3, 6])):
        hub.faults(
            rng.choice(_ROUTES),
            rng.choice(faults)(rng),
            times=rng.choice([1, 1, 2, 5, 20]),
            after=rng.choice([0, 0, 1, 3, 10]),
            repo_id=rng.choice([None, None, rng.choice(ids)]),
        )
    if rng.random() < 0.2:
        broken = rng.choice([Fault.status(500), Fault.status(503), Fault.reset()])
        hub.faults("POST *", broken, times=None, repo_id=rng.choice(ids))


def _targets(kind: str, ids: list[str]) -> Any:
    async def later() -> AsyncIterator[str]:
        for repo_id in ids:
            await asyncio.sleep(0)
            yield repo_id

    if kind == "iterator":
        return later()
    if kind == "selection":
        return sa.Selection(author="acme")
    return iter(ids) if kind == "generator" else list(ids)


@contextlib.contextmanager
def _disk_that_fills(after: int | None) -> Iterator[None]:
    """Let each write to a journal fail, but for the first ones."""
    real, left = writer._File.append, after

    def append(self: Any, records: Any) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(self, records)

    writer._File.append = append  # type: ignore[method-assign]
    try:
        yield
    finally:
        writer._File.append = real  # type: ignore[method-assign]


def _kill(client: sa.SpacesClient) -> None:
    """Break all connections and open no more, as if the process were dead."""
    session: Any = client._session.shared.transport._session
    if session is None:
        return
    pool = session.connector
    waiting = [held for each in pool._conns.values() for held, _ in each]
    for held in (*waiting, *pool._acquired):
        if held.transport is not None:
            held.transport.abort()

    def dead(*_: Any, **__: Any) -> Any:
        raise OSError("the process is dead")

    object.__setattr__(session, "_request", dead)  # aiohttp warns of a plain one


class BulkScene:
    """Two bulks with one journal; something may end the first one early."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (no secret)
        random.seed(seed)
        self.seed, self.path = seed, folder / f"{seed}.jsonl"
        self.name = self.rng.choice(sorted(JOBS))
        self.job = JOBS[self.name]
        count = self.rng.choice([1, 2, 3, 5, 8, 20])
        self.ids = [f"acme/s{number}" for number in range(count)]
        self.problems: list[str] = []
        self.how = self.rng.choice(_ENDS)
        self.kind = self.rng.choice(
            ["list", "list", "iterator", "generator", "selection"]
        )

    def _hub(self) -> FakeHub:
        rng = self.rng
        return FakeHub(
            clock=VirtualClock(),
            quota=Quota(rng.choice([10**6, 10**6, 25, 60]), 300.0),
            seed=self.seed,
            build_seconds=rng.choice(_BUILDS),
            latency=rng.choice([(0.0, 0.0), (0.05, 0.4)]),
            announce_quota=rng.random() < 0.9,
        )

    async def play(self) -> list[str]:
        """Play it, and return what is wrong."""
        async with self._hub() as hub:
            hub.add_org("acme", members={"tester": "admin"})
            for repo_id in self.ids:
                hub.add_space(
                    repo_id,
                    stage=self.rng.choice(_STAGES),
                    hardware="cpu-upgrade",
                    variables={"OLD": "x"},
                )
            _break_at_random(self.rng, hub, self.ids, _faults(self.job.once))
            first = await self._first(hub)
            await self._second(hub, first)
        return self.problems

    def _client(self, hub: FakeHub) -> sa.SpacesClient:
        return sa.SpacesClient(token=hub.token, endpoint=hub.url, clock=VirtualClock())

    async def _first(self, hub: FakeHub) -> Log:
        rng, how = self.rng, self.how
        options: dict[str, Any] = {
            "concurrency": rng.choice([1, 2, 4, 16]),
            "max_outage": rng.choice([600.0, 20.0, 60.0]),
            "journal": self.path,
        }
        if how == "deadline":
            options["deadline"] = rng.choice(
                [0.3, 2.0, 31.0, 100.0, rng.uniform(0, 200)]
            )
        elif how == "max_failures":
            options["max_failures"] = rng.choice([1, 2])
        elif how == "fail_fast":
            options["fail_fast"] = True
        client = self._client(hub)
        stream = client.bulk.stream(
            self.job.make(), _targets(self.kind, self.ids), **options
        )
        killed: bytes | None = None
        with _disk_that_fills(rng.randrange(8) if how == "disk" else None):
            task = asyncio.create_task(self._drain(stream))
            if how in {"cancel", "kill"}:
                killed = await self._cut(task, client)
            await asyncio.wait((task,))
            await client.aclose()
        # The Hub ends what it has received.
        await asyncio.sleep(rng.choice([0.0, 1.0, 12.0, 400.0]))
        log = Log.of(hub, self.job.once)
        error = None if task.cancelled() else task.exception()
        first = Round(f"first ({self.name}, {how})", self.job, hub, self.problems)
        expected: tuple[type[Exception], ...] = (JournalError,)
        if self.kind == "selection":
            expected = (JournalError, sa.BulkInterruptedError)
        if error is not None and not isinstance(error, expected):
            first.say(f"raised {error!r}")
        if killed is None:
            # A refused journal raises before there is any outcome.
            if len(stream.report) or error is None:
                whole = self.kind == "list"
                first.check_targets(stream.report, self.ids, whole=whole, log=log)
            first.check(stream.report, log)
        else:
            self.path.write_bytes(killed)
        first.check_twice(log)
        if self.path.exists():
            first.check_journal(read(self.path.read_bytes())[0], log)
        return log

    async def _drain(self, stream: Any) -> None:
        async with stream as outcomes:
            async for _ in outcomes:
                if self.how == "break" and len(stream.report) > len(self.ids) // 2:
                    break

    async def _cut(
        self, task: asyncio.Task[None], client: sa.SpacesClient
    ) -> bytes | None:
        """Cancel the bulk, or kill its process; return the journal as it was then."""
        rng = self.rng
        seconds = rng.choice(
            [rng.uniform(0, 0.6), rng.uniform(0, 3), rng.uniform(0, 60)]
        )
        await asyncio.wait((task,), timeout=seconds)
        for _ in range(rng.randrange(40)):
            if not task.done():
                await asyncio.sleep(0)
        journal = None
        if self.how == "kill" and not task.done():
            journal = self.path.read_bytes() if self.path.exists() else b""
            _kill(client)
        task.cancel()
        return journal

    async def _second(self, hub: FakeHub, before: Log) -> None:
        rng = self.rng
        state = read(self.path.read_bytes())[0] if self.path.exists() else State()
        healed = rng.random() < 0.6
        if healed:
            hub.clear_faults()
        mode = rng.choice(["verify", "verify", "retry", "skip"])
        how = rng.choice(["none", "none", "deadline", "cancel", "max_failures"])
        options: dict[str, Any] = {
            "concurrency": rng.choice([1, 3, 16]),
            "on_unknown": mode,
            "deadline": rng.choice([0.3, 5.0, 40.0]) if how == "deadline" else None,
            "max_failures": 1 if how == "max_failures" else None,
        }
        client = self._client(hub)
        stream = client.bulk.stream(
            self.job.make(), self.ids, journal=self.path, **options
        )
        error = await self._run_again(stream, cancels=how == "cancel")
        await client.aclose()
        log = Log.of(hub, self.job.once)
        label = f"second ({self.name}, {mode}, {how})"
        failed = {r for r, e in state.entries.items() if e.status is S.FAILED}
        second = Round(label, self.job, hub, self.problems, frozenset(failed))
        if error is not None:
            second.say(f"raised {error!r}")
            return
        second.check(stream.report, log)
        second.check_targets(stream.report, self.ids, whole=True, log=log)
        if mode != "retry":
            second.check_twice(log)
        second.check_repeats(state, before, log)
        if healed and how == "none":
            second.check_all_worked_on(stream.report)

    async def _run_again(self, stream: Any, *, cancels: bool) -> BaseException | None:
        """Run the second bulk, and return what it raised."""

        async def drain() -> None:
            async with stream as outcomes:
                async for _ in outcomes:
                    pass

        task = asyncio.create_task(drain())
        if cancels:
            await asyncio.wait((task,), timeout=self.rng.uniform(0, 5))
            for _ in range(self.rng.randrange(30)):
                if not task.done():
                    await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait((task,))
        return None if task.cancelled() else task.exception()


class SingleScene:
    """One call to a Hub with faults."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (no secret)
        random.seed(seed)
        self.seed = seed
        self.name = self.rng.choice(sorted(SINGLES))
        self.single = SINGLES[self.name]

    async def play(self) -> list[str]:
        """Play it, and return what is wrong."""
        rng, single = self.rng, self.single
        async with FakeHub(
            clock=VirtualClock(),
            seed=self.seed,
            build_seconds=rng.choice(_BUILDS),
            latency=rng.choice([(0.0, 0.0), (0.05, 0.4)]),
        ) as hub:
            hub.add_org("acme", members={"tester": "admin"})
            hub.add_space(
                DEMO,
                stage=rng.choice(_STAGES),
                hardware="cpu-upgrade",
                variables={"OLD": "x"},
                secrets={"S": "y"},
            )
            for _ in range(rng.choice([1, 1, 2, 3])):
                route = rng.choice([f"{single.method} *", "GET *", "*"])
                times, after = rng.choice([1, 1, 2, None]), rng.choice([0, 0, 1])
                fault = rng.choice(_faults(single.end))(rng)
                hub.faults(route, fault, times=times, after=after)
            policy = rng.choice(_POLICIES)
            async with sa.SpacesClient(
                token=hub.token,
                endpoint=hub.url,
                clock=VirtualClock(),
                settings=sa.ClientSettings(retry=policy),
            ) as client:
                problems = await self._call(client, hub)
        return [f"{self.name}: {problem}" for problem in problems]

    async def _call(self, client: sa.SpacesClient, hub: FakeHub) -> list[str]:
        error: sa.SpacesError | None = None
        try:
            await self.single.call(client)
        except sa.SpacesError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  (it is the problem)
            return [f"raised {raised!r}"]
        await asyncio.sleep(0.5)
        acted = sum(
            request.acted
            for request in hub.requests
            if request.method == self.single.method
            and request.path.endswith(self.single.end)
        )
        problems: list[str] = []
        if error is not None and acted and not error.outcome_unknown:
            problems.append(f"{error!r} says that nothing happened, acted {acted}")
        already = self.name == "pause" and _is_paused(hub, DEMO)
        may_be_so = already or self.name in _MAY_BE_SO
        if error is None and not acted and not may_be_so:
            problems.append("returned, and the Hub did nothing")
        if self.single.once and acted > 1:
            problems.append(f"done {acted} times")
        return problems
