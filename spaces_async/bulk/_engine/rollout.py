"""Waves and health: the IO around `_waves`.

Workers ask the gate before each Space. After a write that was done, a task of its own
watches the Space until it is healthy, so that no worker is held up; the waits of many
Spaces share their listings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, field, frozen

from spaces_async._operations.requests import app_key_call
from spaces_async.bulk._engine.space_run import steps_of
from spaces_async.bulk._journal.format import HEALTHY, UNHEALTHY
from spaces_async.bulk._waves import Rollout
from spaces_async.bulk.operations import Function
from spaces_async.bulk.report import TROUBLES, Outcome, OutcomeStatus, StopReason
from spaces_async.errors import ClientClosedError, SpacesError, WaitTimeoutError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async._clock import Clock
    from spaces_async._operations.write import Operation
    from spaces_async.bulk._engine.parts import StopSignal
    from spaces_async.bulk._waves import Pacing
    from spaces_async.bulk.health import HealthCheck, Healthy
    from spaces_async.bulk.report import Wave
    from spaces_async.client import SpacesClient

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOT_CHECKED: Final = "not checked for health"

_PROBE_PAUSE_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 10.0
"""An app that answers badly for longer is worth a word: the path may be wrong."""
_WATCH_PAUSE_SECONDS: Final = 10.0
_WELL: Final = range(200, 300)
_QUOTA_WINDOW_SECONDS: Final = 300.0


class RolloutControl:
    """The waves of one bulk, and the Spaces whose health it watches.

    Attributes:
        checking: Outcomes of Spaces whose write is done and whose health is not known.
        wave_of: The numbers of the waves of the Spaces that are on their way; None
            without waves.
        has_begun: Whether the workers have to wait for their wave.
        has_watch: Whether the health of a Space is watched after its write.
    """

    def __init__(
        self,
        pacing: Pacing,
        watch: HealthWatch | None,
        *,
        clock: Clock,
        stop: StopSignal,
        waves: list[Wave],
    ) -> None:
        """Prepare it.

        Args:
            pacing: How the bulk is asked to proceed.
            watch: Watches a Space after its write; None if its health is of no matter.
            clock: Measures the pauses.
            stop: Ends the bulk.
            waves: The waves of the report; they are replaced as they go on.
        """
        self.checking: dict[str, Outcome[Any]] = {}
        self.wave_of: dict[str, int | None] = {}
        self._waves = waves
        self._pacing = pacing
        self._watch = watch
        self._clock = clock
        self._stop = stop
        self.has_begun = False
        self.has_watch = watch is not None
        self._rollout: Rollout | None = None
        self._changed = asyncio.Event()

    @property
    def needs_all_targets(self) -> bool:
        """Whether the targets have to be read to their end first."""
        return self._pacing.needs_total

    @property
    def held(self) -> bool:
        """Whether no further wave begins."""
        return self._rollout is not None and self._rollout.held

    def begin(self, total: int, *, decided: int, origin: float) -> int | None:
        """Begin with so many Spaces; return after how many failures the bulk ends.

        Args:
            total: How many something may be sent to; `start` is called for each.
            decided: How many more there are.
            origin: When the bulk began.
        """
        rollout = Rollout.of(self._pacing, total, origin=origin, decided=decided)
        self._waves += rollout.waves
        rollout.waves = self._waves
        self._rollout = rollout
        self.has_begun = True
        return rollout.max_failures

    async def enter(self) -> bool:
        """Wait until one more Space may be started, or there is none left.

        The caller that is let in calls `start` next, without a wait in between.

        Returns:
            False if the bulk ends.
        """
        rollout, stop = self._rollout, self._stop
        while rollout is not None and not (rollout.is_exhausted or stop.is_set):
            now = self._clock.monotonic()
            if rollout.may_start(now):
                return True
            self._changed.clear()
            begins = rollout.begins
            if begins is None or rollout.held:
                await self._changed.wait()
            else:
                await self._pause(begins - now)
        return not stop.is_set

    def start(self, repo_id: str) -> None:
        """Note that a Space is started."""
        assert self._rollout is not None  # noqa: S101  (see `has_begun`)
        self.wave_of[repo_id] = self._rollout.start(self._clock.monotonic())

    async def _pause(self, seconds: float) -> None:
        """Wait for the next wave, or until something changes."""
        pause = asyncio.ensure_future(self._clock.sleep(max(0.0, seconds)))
        change = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((pause, change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            change.cancel()

    async def check(
        self,
        outcome: Outcome[Any],
        operation: Operation[Any],
        record: Callable[[Outcome[Any]], None],
    ) -> None:
        """Watch a Space after its write, and then record its outcome.

        Args:
            outcome: That of the write.
            operation: What was done.
            record: Called with the outcome, also where the bulk ends first.
        """
        assert self._watch is not None  # noqa: S101  (see `has_watch`)
        judged = unchecked(outcome)
        began = self._clock.monotonic()
        try:
            judged = await self._watch.judge(outcome, operation)
        except asyncio.CancelledError:
            self._stop.set(StopReason.CANCELLED)
            raise
        finally:
            del self.checking[outcome.repo_id]
            took = self._clock.monotonic() - began
            record(evolve(judged, elapsed=outcome.elapsed + took))

    def note(self, outcome: Outcome[T]) -> Outcome[T]:
        """Note the end of a Space, and return its outcome with its wave."""
        rollout = self._rollout
        if rollout is None or outcome.repo_id not in self.wave_of:
            return outcome
        number = self.wave_of.pop(outcome.repo_id)
        rollout.finish(
            self._clock.monotonic(),
            number,
            healthy=outcome.ok and outcome.reason != NOT_CHECKED,
            troubled=outcome.status in TROUBLES,
        )
        if rollout.halts and not self._stop.is_set:
            if number is not None:
                rollout.note_halt(number)
            self._stop.set(StopReason.UNHEALTHY)
        self._changed.set()
        if number is None or outcome.status is OutcomeStatus.NOT_ATTEMPTED:
            return outcome
        return evolve(outcome, wave=number)

    def wake(self) -> None:
        """Let the workers look again."""
        self._changed.set()

    def hold(self) -> None:
        """Let no further wave begin."""
        if self._rollout is not None:
            self._rollout.held = True

    def promote(self) -> None:
        """Let the next wave begin now."""
        if self._rollout is not None:
            self._rollout.promote()
            self._changed.set()


def unchecked(outcome: Outcome[Any]) -> Outcome[Any]:
    """Return the outcome of a Space whose write was done, whatever its health is."""
    return evolve(outcome, reason=NOT_CHECKED)


@frozen
class HealthGoal:
    """Where a Space has to get after a write.

    Attributes:
        stages: Any of these.
        hardware: The flavor that it has to be on; None is the one requested for it.
        runs: Whether it runs then, so that the app can be asked.
    """

    stages: Collection[SpaceStage]
    hardware: str | None
    runs: bool


_IDLE: Final = frozenset(stage for stage in SpaceStage if stage.is_idle)
_RUNNING: Final = frozenset({SpaceStage.RUNNING})


def goal_of(operation: Operation[Any], healthy: Healthy) -> HealthGoal | None:
    """Return where a write aims at; None if it changes nothing that runs.

    A Space that does not run is not started by a new variable, so where it stands is
    where it should be. A restart has to bring it to RUNNING.
    """
    if healthy.stages is not None:
        runs = SpaceStage.RUNNING in healthy.stages
        return HealthGoal(healthy.stages, None, runs=runs)
    if isinstance(operation, Function):
        return HealthGoal(_RUNNING, None, runs=True)
    steps = [step for _, step in steps_of(operation)]
    wanted = {field.name: field.wanted for step in steps for field in step.fields}
    if wanted.get("exists") is False:
        return None
    if "stage" in wanted:
        stage = SpaceStage(wanted["stage"])
        return HealthGoal({stage}, None, runs=stage is SpaceStage.RUNNING)
    hardware: str | None = wanted.get("hardware")
    return HealthGoal(_RUNNING | _IDLE, hardware, runs=True)


@frozen
class _App:
    """The app of a Space, which a probe asks.

    Attributes:
        repo_id: The Space.
        subdomain: Where the app is.
        path: What is asked for.
        asks_for_key: Whether it lets in only who has a key: the Space may be private.
    """

    repo_id: str
    subdomain: str | None
    path: str
    asks_for_key: bool = field(kw_only=True)


class HealthWatch:
    """Watches Spaces after their writes."""

    def __init__(
        self, client: SpacesClient, healthy: Healthy, check: HealthCheck | None
    ) -> None:
        """Prepare it.

        Args:
            client: Reads the Spaces.
            healthy: What has to be so.
            check: Asked once for each Space that is RUNNING again.
        """
        self._client = client
        self._healthy = healthy
        self._check = check
        self._has_told = False

    async def judge(
        self, outcome: Outcome[Any], operation: Operation[Any]
    ) -> Outcome[Any]:
        """Return the outcome of a Space whose write was done, with its health.

        One that is not healthy is failed, with the reason "unhealthy"; the reason of
        another one is "healthy", and a runtime that its write returned is the one of now.
        """
        goal = goal_of(operation, self._healthy)
        if goal is None:
            return outcome
        try:
            runtime = await self._wait(outcome, goal)
        except ClientClosedError:
            return unchecked(outcome)  # That says nothing of the Space.
        except Exception as error:  # noqa: BLE001  (a check of the user's may raise any)
            error.__traceback__ = None
            failed = OutcomeStatus.FAILED
            return evolve(
                outcome, status=failed, value=None, error=error, reason=UNHEALTHY
            )
        if not isinstance(outcome.value, SpaceRuntime):
            return evolve(outcome, reason=HEALTHY)
        return evolve(outcome, reason=HEALTHY, value=runtime)

    async def _wait(self, outcome: Outcome[Any], goal: HealthGoal) -> SpaceRuntime:
        repo_id, clock, healthy = outcome.repo_id, self._client.clock, self._healthy
        deadline = clock.monotonic() + healthy.timeout
        wait_until = partial(
            self._client.lifecycle.wait_until,
            repo_id,
            goal.stages,
            hardware=goal.hardware,
            after=outcome.value if isinstance(outcome.value, SpaceRuntime) else None,
        )
        try:
            runtime = await wait_until(timeout=healthy.timeout)
        except WaitTimeoutError as error:
            if not error.unread:
                raise
            # Its health was not checked, usually because the bulk itself has used up the
            # quota. It may be healthy: it is checked in the next window.
            runtime = await wait_until(timeout=_QUOTA_WINDOW_SECONDS)
        if not goal.runs or not runtime.stage.is_running:
            return runtime
        if self._check is not None:
            fine = await self._check(self._client, repo_id)
            if fine is not True:
                raise SpacesError(f"{repo_id}: the health check returned {fine!r}")
        app = None if healthy.probe is None else await self._app(repo_id, healthy.probe)
        if app is not None:
            await self._probe_until(app, deadline)
        if healthy.for_seconds:
            until = clock.monotonic() + healthy.for_seconds
            await self._stay(repo_id, goal, until, app)
        return runtime

    async def _app(self, repo_id: str, path: str) -> _App:
        """Read where the app of a Space is."""
        info = await self._client.catalog.get_info(
            repo_id, expand=["subdomain", "private"]
        )
        return _App(
            repo_id, info.subdomain, path, asks_for_key=info.private is not False
        )

    async def _probe_until(self, app: _App, deadline: float) -> None:
        """Ask the app until it answers well."""
        clock, repo_id = self._client.clock, app.repo_id
        began = clock.monotonic()
        while (problem := await self._probe(app)) is not None:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise WaitTimeoutError(
                    f"{repo_id} is RUNNING, but its app is not healthy: {problem}",
                    repo_id=repo_id,
                    last_stage=SpaceStage.RUNNING,
                    timeout=self._healthy.timeout,
                )
            if clock.monotonic() - began >= _PATIENCE_SECONDS:
                self._tell(app, problem)
            await clock.sleep(min(_PROBE_PAUSE_SECONDS, left))

    def _tell(self, app: _App, problem: str) -> None:
        """Say once in a bulk what its probes wait for; each Space says it at its end."""
        if self._has_told:
            return
        self._has_told = True
        session = self._client._session  # noqa: SLF001  (of the client's bulk)  # pyright: ignore[reportPrivateUsage]
        host = session.app_host(app.subdomain)
        where = "" if host is None else f" (at {host})"
        logger.warning(
            "%s runs, but %s%s; it is asked again, for %g s at most",
            *(app.repo_id, problem, where, self._healthy.timeout),
        )

    async def _stay(
        self, repo_id: str, goal: HealthGoal, until: float, app: _App | None
    ) -> None:
        """Watch a Space for some time; raise if it is not well any more."""
        clock = self._client.clock
        while (left := until - clock.monotonic()) > 0:
            await clock.sleep(min(_WATCH_PAUSE_SECONDS, left))
            await self._client.lifecycle.wait_until(repo_id, goal.stages, timeout=0.0)
            if app is not None:
                problem = await self._probe(app)
                if problem is not None:
                    raise SpacesError(
                        f"{repo_id} was healthy, and is not any more: {problem}"
                    )

    async def _probe(self, app: _App) -> str | None:
        """Ask the app once; return what is wrong, None if nothing is."""
        session = self._client._session  # noqa: SLF001  (of the client's bulk)  # pyright: ignore[reportPrivateUsage]
        key = None
        if app.asks_for_key:
            # A new one each time: it is good for some minutes only.
            key = await session.send(app_key_call(app.repo_id))
        answered = await session.ask_app(app.subdomain, app.path, key=key)
        if isinstance(answered, str):
            return f"{app.path} cannot be reached: {answered}"
        return None if answered in _WELL else f"{app.path} answered {answered}"
