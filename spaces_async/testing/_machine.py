"""How the stage of a Space changes over time.

Nothing runs in the background. Each access to a machine first performs the steps that
have become due since the last one. The result is the same as if they had happened on
time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field, frozen

from spaces_async.models import SpaceStage
from spaces_async.testing._names import check, stage_of
from spaces_async.testing._threads import guarded, wake

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractContextManager

__all__ = [
    "FREE_FLAVOR",
    "FREE_SLEEP_SECONDS",
    "Failure",
    "LogLine",
    "Machine",
    "Timing",
]

FREE_FLAVOR = "cpu-basic"
FREE_SLEEP_SECONDS = 172800
COLLISION = "Collision on variables and secrets names."
_BUILD_FAILURES = frozenset(
    {SpaceStage.BUILD_ERROR, SpaceStage.CONFIG_ERROR, SpaceStage.NO_APP_FILE}
)
_BILLED_STAGES = frozenset(
    {
        SpaceStage.RUNNING,
        SpaceStage.RUNNING_BUILDING,
        SpaceStage.RUNNING_APP_STARTING,
    }
)
_MESSAGES = {
    SpaceStage.BUILD_ERROR: "Build failed with exit code: 1",
    SpaceStage.CONFIG_ERROR: "Configuration error",
    SpaceStage.RUNTIME_ERROR: "Exit code: 1. Reason: the application crashed",
}


@define
class Timing:
    """Durations, in seconds of the Hub's clock.

    Attributes:
        build: From the start of a build until the app starts.
        factory_build: The same without the build cache.
        start: From the start of the app until it runs.
        hardware: From the request for a flavor until the app moves to it.
        config_restarts: Whether writing a variable or secret restarts a running app.
    """

    build: float = 2.0
    factory_build: float = 4.0
    start: float = 1.0
    hardware: float = 1.0
    config_restarts: bool = True


class Timeline(Protocol):
    """The source of time of a machine."""

    timing: Timing

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock that guards the state of the Hub."""
        ...

    def now(self) -> float:
        """Return the seconds since the Hub was started."""
        ...

    def at(self, now: float) -> datetime:
        """Return the wall-clock time at `now`."""
        ...


@frozen
class Failure:
    """How a build or a start fails."""

    stage: SpaceStage
    message: str | None = None


@frozen
class LogLine:
    """One line of a log."""

    text: str
    timestamp: datetime


@frozen
class _Step:
    at: float
    name: str
    action: Callable[[float], None] = field(repr=False)


class Machine:
    """The running part of a Space: stage, hardware, logs."""

    def __init__(self, timeline: Timeline, *, flavor: str, is_static: bool) -> None:
        self.is_static = is_static
        self.over_quota: str | None = None
        self._fails_with: SpaceStage | None = None
        self.failure_message: str | None = None
        self.restarts = 0
        self.factory_reboots = 0
        self.pauses = 0
        self.config_restarts = 0
        self.head_sha = ""
        self.requested_hardware: str | None = None if is_static else flavor
        self._timeline = timeline
        self._changes = 0
        self.watchers: list[asyncio.Future[None]] = []
        self._stage = SpaceStage.RUNNING
        self._error: str | None = None
        self._hardware = self.requested_hardware
        self._running_sha: str | None = None
        self._steps: list[_Step] = []
        self._next_build_failure: Failure | None = None
        self._next_start_failure: Failure | None = None
        self._awake_since = 0.0
        self._sleep_time: int | None = FREE_SLEEP_SECONDS
        self._logs: dict[str, list[LogLine]] = {"build": [], "run": []}
        self._stages: list[SpaceStage] = []

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock that guards the state of the Hub."""
        return self._timeline.lock

    # State that a test may read --------------------------------------------------

    @property
    def stage(self) -> SpaceStage:
        """The current stage."""
        self.settle()
        return self._stage

    @property
    def stages(self) -> list[SpaceStage]:
        """Every stage so far, the current one last."""
        self.settle()
        return list(self._stages)

    @property
    def error_message(self) -> str | None:
        """Why it failed."""
        self.settle()
        return self._error

    @property
    def hardware(self) -> str | None:
        """The flavor that it runs on; None if it is not running."""
        self.settle()
        return self._hardware

    @property
    def running_sha(self) -> str | None:
        """The running commit; None if it is not running."""
        self.settle()
        return self._running_sha

    @property
    def sleep_time(self) -> int | None:
        """Seconds without a visit until it sleeps; None means never."""
        return self._sleep_time

    @property
    def run_log(self) -> list[LogLine]:
        """The lines that the app has printed."""
        self.settle()
        return self._logs["run"]

    @property
    def build_log(self) -> list[LogLine]:
        """The lines that the build has printed."""
        self.settle()
        return self._logs["build"]

    @property
    def fails_with(self) -> str | None:
        """The stage in which each build or start ends; None lets it run."""
        return self._fails_with

    @fails_with.setter
    def fails_with(self, stage: str | None) -> None:
        self._fails_with = None if stage is None else stage_of(stage)

    @guarded
    def next_change(self) -> float | None:
        """Return when the stage next changes on its own; None if it will not."""
        self.settle()
        if self._steps:
            return self._steps[0].at
        return self._sleeps_at()

    # Actions for tests -----------------------------------------------------------

    @guarded
    def fail_next_build(
        self, stage: str = SpaceStage.BUILD_ERROR, message: str | None = None
    ) -> None:
        """Make only the next build end in this stage."""
        self._next_build_failure = Failure(stage_of(stage), message)

    @guarded
    def set_stage(self, stage: str, error_message: str | None = None) -> None:
        """Set the stage, which stays until a call or a test changes it."""
        target = stage_of(stage)
        self.settle()
        self._steps.clear()
        self.over_quota = None
        if target in _MESSAGES and error_message is None:
            error_message = _MESSAGES[target]
        self._enter(target, self._timeline.now(), error_message)

    @guarded
    def visit(self) -> None:
        """Open the app in a browser: this wakes a sleeping Space."""
        self.settle()
        now = self._timeline.now()
        self._awake_since = now
        if self._stage in {SpaceStage.SLEEPING, SpaceStage.STOPPED}:
            self._begin_start(now)

    @guarded
    def log(
        self, text: str, kind: str = "run", timestamp: datetime | None = None
    ) -> None:
        """Add a line to the "run" or "build" log."""
        check(kind, self._logs, "a log")
        self.settle()
        self._print(kind, text, timestamp or self._timeline.at(self._timeline.now()))
        self.notify()

    # Effects of calls ------------------------------------------------------------

    @guarded
    def restart(self, *, factory: bool = False) -> bool:
        """Build and start again; a factory reboot leaves a paused Space as it is.

        Returns:
            Whether anything changed.
        """
        self.settle()
        if factory and self._stage is SpaceStage.PAUSED:
            return False
        timing = self._timeline.timing
        if factory:
            self.factory_reboots += 1
        else:
            self.restarts += 1
        self._begin_build(timing.factory_build if factory else timing.build)
        return True

    @guarded
    def pause(self) -> None:
        """Stop the app immediately."""
        self.settle()
        self.pauses += 1
        self.over_quota = None
        self._steps.clear()
        self._enter(SpaceStage.PAUSED, self._timeline.now())

    @guarded
    def build(self, *, fresh: bool = False) -> None:
        """Build the newest commit; unless `fresh`, a running app keeps running."""
        self.settle()
        keep = self._stage.is_running and not fresh
        self._begin_build(self._timeline.timing.build, keep=keep)

    @guarded
    def request_hardware(self, flavor: str) -> None:
        """Request a flavor; a running app moves to it later."""
        self.settle()
        free_before = self.requested_hardware == FREE_FLAVOR
        self.requested_hardware = flavor
        if flavor == FREE_FLAVOR:
            self._sleep_time = FREE_SLEEP_SECONDS
        elif free_before:
            self._sleep_time = None
        self._steps = [step for step in self._steps if step.name != "move"]
        if self._stage is SpaceStage.RUNNING and self._hardware != flavor:
            at = self._timeline.now() + self._timeline.timing.hardware
            self._steps.append(_Step(at, "move", self._begin_start))
        self.notify()

    @guarded
    def set_sleep_time(self, seconds: int | None) -> None:
        """Set the sleep time; the free flavor always keeps its two days."""
        self.settle()
        if self.requested_hardware != FREE_FLAVOR:
            self._sleep_time = None if seconds is None or seconds < 0 else seconds
        self.notify()

    @guarded
    def configured(self, *, collision: bool) -> None:
        """React to a written variable or secret."""
        self.settle()
        if self.is_static:
            return
        if collision:
            self._steps.clear()
            self._enter(SpaceStage.CONFIG_ERROR, self._timeline.now(), COLLISION)
        elif self._error == COLLISION:
            self._begin_build(self._timeline.timing.build)
        elif self._stage.is_running and self._timeline.timing.config_restarts:
            self.config_restarts += 1
            self._begin_build(self._timeline.timing.build)

    # Passing of time -------------------------------------------------------------

    @guarded
    def settle(self) -> None:
        """Perform all steps that are due by now."""
        now = self._timeline.now()
        while self._steps and self._steps[0].at <= now:
            step = self._steps.pop(0)
            step.action(step.at)
        sleeps_at = self._sleeps_at()
        if not self._steps and sleeps_at is not None and sleeps_at <= now:
            self._enter(SpaceStage.SLEEPING, sleeps_at)

    def collides(self) -> bool:
        """Whether a name is both a variable and a secret."""
        return False

    def holds(self, flavor: str) -> bool:
        """Whether it counts in the owner's compute quota of this flavor."""
        self.settle()
        running = self._stage.is_running or self._stage.is_transitional
        return (
            running
            and not self.is_static
            and self.over_quota is None
            and self.requested_hardware == flavor
        )

    @property
    def changes(self) -> int:
        """How often `notify` was called."""
        return self._changes

    @guarded
    def notify(self) -> None:
        """Notify the open streams of a change."""
        self._changes += 1
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            wake(watcher)

    @guarded
    def watch(self, watcher: asyncio.Future[None], since: int) -> None:
        """Complete `watcher` at the next change, or now if `changes` is past `since`."""
        if self._changes != since:
            wake(watcher)
        else:
            self.watchers.append(watcher)

    @guarded
    def unwatch(self, watcher: asyncio.Future[None]) -> None:
        """Forget a watcher."""
        if watcher in self.watchers:
            self.watchers.remove(watcher)

    def _sleeps_at(self) -> float | None:
        if self.is_static or self._stage is not SpaceStage.RUNNING:
            return None
        if self._sleep_time is None:
            return None
        return self._awake_since + self._sleep_time

    def _enter(self, stage: SpaceStage, at: float, error: str | None = None) -> None:
        self._stage = stage
        self._stages.append(stage)
        self._error = error
        if stage is SpaceStage.RUNNING:
            self._hardware = self.requested_hardware
            self._running_sha = self.head_sha
            self._awake_since = at
        elif not stage.is_running:
            self._hardware = None
            self._running_sha = None
        self._note_use(at)
        self.notify()

    def _note_use(self, at: float) -> None:
        """Note what is billed from now on."""

    def _billed_flavor(self) -> str | None:
        """Return the flavor that is paid for now; None if none is."""
        is_made = bool(self._stages)  # before its first stage, nothing runs
        if self.is_static or not is_made or self._stage not in _BILLED_STAGES:
            return None
        return self._hardware or self.requested_hardware

    def _begin_build(self, seconds: float, *, keep: bool = False) -> None:
        now = self._timeline.now()
        self._steps.clear()
        self._logs["build"].clear()
        self._enter(SpaceStage.RUNNING_BUILDING if keep else SpaceStage.BUILDING, now)
        when = self._timeline.at(now)
        self._print("build", f"===== Build Queued at {when:%F %T} =====\n", when)
        self._steps.append(_Step(now + seconds, "built", self._end_build))

    def _end_build(self, at: float) -> None:
        failure = self._failure()
        if failure is not None and failure.stage in _BUILD_FAILURES:
            self._fail(failure, at, "build")
            return
        self._print("build", "Pushing image: DONE\n", self._timeline.at(at))
        self._next_start_failure = failure
        self._begin_start(at, keep=self._stage is SpaceStage.RUNNING_BUILDING)

    def _begin_start(self, at: float, *, keep: bool = False) -> None:
        self._steps.clear()
        if self.over_quota is not None:
            message, self.over_quota = self.over_quota, None
            self._enter(SpaceStage.PAUSED, at, message)
            return
        stage = SpaceStage.RUNNING_APP_STARTING if keep else SpaceStage.APP_STARTING
        self._enter(stage, at)
        self._logs["run"].clear()
        self._print_banner(at)
        end = at + self._timeline.timing.start
        self._steps.append(_Step(end, "started", self._end_start))

    def _end_start(self, at: float) -> None:
        failure = self._next_start_failure or self._failure()
        self._next_start_failure = None
        # Without a build before it, a start cannot end in a build failure.
        if failure is not None and failure.stage not in _BUILD_FAILURES:
            self._fail(failure, at, "run")
            return
        self._print("run", "Server running on port 7860", self._timeline.at(at))
        self._enter(SpaceStage.RUNNING, at)

    def _fail(self, failure: Failure, at: float, kind: str) -> None:
        self.over_quota = None
        message = failure.message or _MESSAGES.get(failure.stage)
        if message:
            self._print(kind, message, self._timeline.at(at))
        self._enter(failure.stage, at, message)

    def _failure(self) -> Failure | None:
        if self.collides():
            return Failure(SpaceStage.CONFIG_ERROR, COLLISION)
        failure, self._next_build_failure = self._next_build_failure, None
        if failure is not None:
            return failure
        if self._fails_with is not None:
            return Failure(self._fails_with, self.failure_message)
        return None

    def _print_banner(self, at: float) -> None:
        """Begin the run log, as that of every app that runs begins."""
        when = self._timeline.at(at)
        banner = f"===== Application Startup at {when:%F %T} =====\n"
        self._print("run", banner, when)

    def _print(self, kind: str, text: str, timestamp: datetime) -> None:
        self._logs[kind].append(LogLine(text, timestamp))
