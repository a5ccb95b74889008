"""Many tasks that do all sorts of things to a Hub that fails now and then.

Each task writes to Spaces of its own, one call after the other, so after every write
the Hub's own state tells whether what was reported is true.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import define, field, frozen

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.testing import FakeHub, Fault, FaultHandle

USERS: Final = 4
MAX_CONNECTIONS: Final = 32
STREAMS: Final = 8
SHARED: Final = "acme/shared"
TEXTS: Final = [f"line {number}" for number in range(40)]

# A restart is known by its stage as long as the build goes on. No call of these lasts
# longer than that, so that what is counted is certain.
BUILD: Final = 3600.0 * 24

SHARE_OF_FAULTS: Final = 0.05
FAULTS: Final = (
    Fault.status(503),
    Fault.status(503, headers={"Retry-After": "1"}),
    Fault.status(500),
    Fault.status(500, acted=True),
    Fault.html(status=502, acted=True),
    Fault.reset(),
    Fault.reset(acted=True),
    Fault.disconnect(),
    Fault.disconnect(acted=True),
    Fault.truncated(),
)

# What may be left of these faults when nothing more can be done about them.
ALLOWED: Final = (
    sa.HubServerError,
    sa.ConnectionLostError,
    sa.UnexpectedResponseError,
    sa.RateLimitError,
    sa.RequestTimeoutError,
    sa.StreamInterruptedError,
)


class Sometimes(FaultHandle):
    """A fault that meets each call with the same probability."""

    def __init__(self, fault: Fault, share: float, dice: random.Random) -> None:
        super().__init__("*", fault, times=None)
        self._share = share
        self._dice = dice

    def fires(self, method: str, path: str, repo_id: str | None) -> bool:
        met = self._dice.random() < self._share
        return met and super().fires(method, path, repo_id)


@frozen
class Plan:
    """How much is done, and how fast.

    Attributes:
        pause: Seconds between two calls of a task, on average.
        latency: Seconds that the Hub takes for each.
        rivals: Seconds between two times that others use up the quota of a user.
        limit: Seconds after which a call counts as hung.
        log: Which log is read. That of the app ends after 5 s of silence, that of a
            build which is over ends at once.
        tasks: How many work at the same time.
    """

    pause: float
    latency: float
    rivals: float
    limit: float
    log: str
    tasks: int = 256


@define(eq=False)
class Load:
    """All that the tasks share.

    Attributes:
        begun: Calls by name.
        done: Calls with a result by name.
        failed: Calls that ended in an error, by name and error.
        unknown: Writes that were reported as unknown.
        effects: Writes that the Hub has acted on, by name.
        statuses: Answers of the Hub by status, None for those that it left out.
        most: Most connections that the client has held at once.
        runs: How often the tasks were set to work.
    """

    hub: FakeHub
    client: sa.SpacesClient
    plan: Plan
    begun: Counter[str] = field(factory=Counter[str])
    done: Counter[str] = field(factory=Counter[str])
    failed: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    unknown: Counter[str] = field(factory=Counter[str])
    effects: Counter[str] = field(factory=Counter[str])
    statuses: Counter[int | None] = field(factory=Counter[int | None])
    most: int = 0
    runs: int = 0
    streams: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(STREAMS))
    dice: random.Random = field(factory=lambda: random.Random("load"))  # noqa: S311

    def prepare(self) -> None:
        """Fill the Hub, and let it fail."""
        members: dict[str, Any] = {f"user{n}": "write" for n in range(USERS)}
        self.hub.add_org("acme", members={"tester": "write", **members})
        for number in range(USERS):
            self.hub.add_user(f"user{number}", token=f"hf_user{number}")
        shared = self.hub.add_space(SHARED)
        shared.run_log.clear()
        for kind in ("run", "build"):
            for text in TEXTS:
                shared.log(text, kind)
        # Otherwise calls in virtual time would take none, and hardly ever overlap.
        self.hub.faults("*", Fault.delay(self.plan.latency), times=None)
        share = SHARE_OF_FAULTS / len(FAULTS)
        for fault in FAULTS:
            self.hub._server.faults.add(Sometimes(fault, share, self.dice))

    async def run(self, seconds: float) -> None:
        """Let all tasks work for so long, then let them end their last call."""
        self.runs += 1
        until = self.client.clock.monotonic() + seconds
        over = asyncio.Event()
        async with asyncio.TaskGroup() as background:
            background.create_task(self._others(until, over))
            async with asyncio.TaskGroup() as group:
                for number in range(self.plan.tasks):
                    group.create_task(Worker(self, number).work(until))
            over.set()

    async def _others(self, until: float, over: asyncio.Event) -> None:
        """Use up quota as other programs do; keep the Hub's book of calls short."""
        turns = 0
        while not over.is_set():
            await asyncio.sleep(self.plan.rivals / 10)
            turns += 1
            self.tidy()
            if turns % 10 == 5 and self.client.clock.monotonic() < until:
                self.hub.spend(10**6, user=f"user{self.dice.randrange(USERS)}")

    def tidy(self) -> None:
        """Count what the Hub has received so far, and let it forget that."""
        now = self.hub._world.now()
        old = [r for r in self.hub.requests if r.status or now - r.at > self.plan.limit]
        self.statuses.update(r.status for r in old)
        self.hub.requests[:] = [r for r in self.hub.requests if r not in old]

    def look_at_the_pool(self) -> None:
        """No more connections are in use than allowed, open streams aside."""
        session = self.client._session.shared.transport._session
        if session is not None and session.connector is not None:
            held = len(session.connector._acquired)
            assert held <= MAX_CONNECTIONS + STREAMS
            self.most = max(self.most, held)

    async def tell(self, name: str, call: Awaitable[Any]) -> Any:
        """Wait for a call; return its result, or the error that it ended in."""
        self.begun[name] += 1
        self.look_at_the_pool()
        try:
            async with asyncio.timeout(self.plan.limit):
                result = await call
        except sa.SpacesError as error:
            if not isinstance(error, ALLOWED):
                raise
            self.failed[name, type(error).__name__] += 1
            self.unknown[name] += error.outcome_unknown
            return error
        self.done[name] += 1
        return result

    async def write(
        self, name: str, call: Awaitable[Any], effects: Callable[[], int]
    ) -> Any:
        """Make a write and compare what is reported with what the Hub has done."""
        before = effects()
        told = await self.tell(name, call)
        happened = effects() - before
        error = told if isinstance(told, sa.SpacesError) else None
        assert happened in allowed_effects(error), (name, told, happened)
        self.effects[name] += happened
        return told


def allowed_effects(error: Exception | None) -> set[int]:
    """Return how often the Hub may have acted, by what was reported."""
    if error is None:
        return {1}
    if isinstance(error, sa.SpacesError) and error.outcome_unknown:
        return {0, 1}
    # A 2xx that cannot be read, nor the state after it: it was done.
    return {1} if isinstance(error, sa.UnexpectedResponseError) else {0}


class Worker:
    """One task, with two Spaces of its own."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._hub = load.hub
        seed = f"{number} {load.runs}"
        self._dice = random.Random(seed)  # noqa: S311  (it has to repeat)
        self._client = load.client.with_token(f"hf_user{number % USERS}")
        self._ids = [f"acme/w{number}", f"acme/w{number}-b"]
        for repo_id in self._ids:
            if repo_id not in self._hub.spaces:
                self._hub.add_space(repo_id)
        self._space = self._hub.space(self._ids[0])

    async def work(self, until: float) -> None:
        """Do one thing after the other."""
        steps: list[Callable[[], Awaitable[None]]] = [
            self._runtime, self._power, self._power, self._add_variable,
            self._delete_variable, self._variables, self._add_secret, self._page,
            self._info, self._log, self._bulk,
        ]  # fmt: skip
        clock = self._client.clock
        while True:
            await clock.sleep(self._dice.expovariate(1 / self._load.plan.pause))
            if clock.monotonic() >= until:
                return
            await self._dice.choice(steps)()

    async def _runtime(self) -> None:
        call = self._client.lifecycle.get_runtime(self._ids[0])
        told = await self._load.tell("get_runtime", call)
        if isinstance(told, sa.SpaceRuntime):
            assert told.stage is self._space.stage

    async def _power(self) -> None:
        """Restart what is paused, pause everything else."""
        space = self._space
        if space.stage is sa.SpaceStage.PAUSED:
            call = self._client.lifecycle.restart(space.id)
            await self._load.write("restart", call, lambda: space.restarts)
        else:
            call = self._client.lifecycle.pause(space.id)
            await self._load.write(
                "pause", call, lambda: int(space.stage is sa.SpaceStage.PAUSED)
            )

    async def _add_variable(self) -> None:
        value = str(self._dice.random())
        variables = self._space.variables
        call = self._client.config.add_variable(self._space.id, "KEY", value)
        await self._load.write(
            "add_variable",
            call,
            lambda: int("KEY" in variables and variables["KEY"].value == value),
        )

    async def _delete_variable(self) -> None:
        variables = self._space.variables
        if "KEY" not in variables:
            return
        call = self._client.config.delete_variable(self._space.id, "KEY")
        await self._load.write(
            "delete_variable", call, lambda: int("KEY" not in variables)
        )

    async def _variables(self) -> None:
        call = self._client.config.get_variables(self._space.id)
        told = await self._load.tell("get_variables", call)
        if not isinstance(told, sa.SpacesError):
            shown = {key: variable.value for key, variable in told.items()}
            kept = self._space.variables
            assert shown == {key: setting.value for key, setting in kept.items()}

    async def _add_secret(self) -> None:
        value = str(self._dice.random())
        secrets = self._space.secrets
        call = self._client.config.add_secret(self._space.id, "TOKEN", value)
        await self._load.write(
            "add_secret",
            call,
            lambda: int("TOKEN" in secrets and secrets["TOKEN"].value == value),
        )

    async def _page(self) -> None:
        async def page() -> list[str]:
            listing = self._client.catalog.list_spaces(author="acme", limit=5)
            return [info.id async for info in listing]

        told = await self._load.tell("list_spaces", page())
        assert isinstance(told, sa.SpacesError) or len(set(told)) == 5

    async def _info(self) -> None:
        call = self._client.catalog.get_info(self._ids[0])
        told = await self._load.tell("get_info", call)
        assert isinstance(told, sa.SpacesError) or told.id == self._ids[0]

    async def _log(self) -> None:
        async def log() -> list[str]:
            kind: Any = self._load.plan.log
            async with self._client.logs.stream_logs(SHARED, kind=kind) as lines:
                return [line.text async for line in lines]

        async with self._load.streams:
            told = await self._load.tell("stream_logs", log())
        assert isinstance(told, sa.SpacesError) or told[-len(TEXTS) :] == TEXTS

    async def _bulk(self) -> None:
        """Restart or pause both Spaces at once."""
        spaces = [self._hub.space(repo_id) for repo_id in self._ids]
        if any(s.stage is not sa.SpaceStage.PAUSED for s in spaces):
            call = self._client.bulk.pause(self._ids)
            report = await self._load.tell("bulk pause", call)
            assert all(
                hub_space.stage is sa.SpaceStage.PAUSED
                for hub_space, outcome in zip(spaces, report, strict=True)
                if outcome.ok
            )
            return
        before = [space.restarts for space in spaces]
        operation = operations.restart()
        report = await self._load.tell(
            "bulk restart", self._client.bulk.run(operation, self._ids)
        )
        assert report.stopped_by is None
        for outcome, space, count in zip(report, spaces, before, strict=True):
            assert (outcome.status is S.UNKNOWN) == bool(
                isinstance(outcome.error, sa.SpacesError)
                and outcome.error.outcome_unknown
            )
            happened = space.restarts - count
            assert happened in allowed_effects(outcome.error), outcome
            self._load.effects["bulk restart"] += happened
