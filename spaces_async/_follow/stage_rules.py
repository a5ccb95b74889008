"""When a Space has arrived, when it never will, and when nothing moves. Pure.

A `Watch` is shown one runtime after the other and judges; looking and sleeping are the
business of whoever asks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async import _validate
from spaces_async.errors import ConfigurationError, SpaceFailedError, WaitTimeoutError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Collection

SETTLE: Final = 10.0
"""Seconds after which a RUNNING that never changed counts as the new one."""

_DEAD_ENDS: Final = frozenset({SpaceStage.PAUSED, SpaceStage.DELETING})


def wanted_stages(stages: Collection[SpaceStage | str]) -> frozenset[SpaceStage]:
    """Check the stages to wait for.

    Raises:
        ConfigurationError: There are none, or one that the Hub does not have.
    """
    # One stage is a text, and a text is a collection of letters.
    given = (stages,) if isinstance(stages, str) else _validate.items(stages, "stages")
    wanted = frozenset(SpaceStage(_validate.text(stage, "a stage")) for stage in given)
    if not wanted:
        raise ConfigurationError("stages is empty: name at least one stage to wait for")
    unknown = sorted(repr(str(stage)) for stage in wanted if not stage.is_known)
    if unknown:
        raise ConfigurationError(
            f"unknown stage {', '.join(unknown)}; known: {', '.join(SpaceStage)}"
        )
    return wanted


class Watch:
    """Judges the runtimes of one Space that is waited for."""

    def __init__(
        self,
        repo_id: str,
        wanted: frozenset[SpaceStage],
        *,
        after: SpaceRuntime | None,
        stuck_after: float | None,
        started: float,
    ) -> None:
        self._repo_id = repo_id
        self._wanted = wanted
        self._after = after
        self._stuck_after = stuck_after
        self._started = started
        self._moved = started
        self._left = False
        self.last: SpaceRuntime | None = None

    def arrived(self, runtime: SpaceRuntime, now: float) -> bool:
        """Take in a runtime and say whether the wait is over.

        Args:
            runtime: What was just read.
            now: When, on the clock of the wait.

        Raises:
            SpaceFailedError: It will not get there by itself, or nothing moves.
        """
        if self.last is None or _differ(self.last, runtime):
            self._moved = now
        self.last = runtime
        if runtime.stage in self._wanted:
            return not self._stale(runtime, now)
        self._left = True
        self._refuse_dead_end(runtime, now)
        return False

    def _stale(self, runtime: SpaceRuntime, now: float) -> bool:
        """Say whether this may still be the state from before a restart."""
        before = self._after
        if before is None or self._left:
            return False
        if runtime.stage is not SpaceStage.RUNNING:
            return False
        if before.sha is not None and runtime.sha not in (None, before.sha):
            return False
        known = before.replicas is not None and before.replicas.current is not None
        if known and runtime.replicas != before.replicas:
            return False
        return now - self._started < SETTLE

    def _refuse_dead_end(self, runtime: SpaceRuntime, now: float) -> None:
        stage = runtime.stage
        goal = " or ".join(sorted(self._wanted))
        why = f": {runtime.error_message}" if runtime.error_message else ""
        if stage.is_failed or stage in _DEAD_ENDS:
            # Right after a restart the failure from before may be told once more.
            if self._was_so_before(runtime) and now - self._started < SETTLE:
                return
            message = f"{self._repo_id} is {stage} and will not get to {goal} by itself"
        elif (
            self._stuck_after is not None
            and stage.is_transitional
            and now - self._moved >= self._stuck_after
        ):
            still = now - self._moved
            message = f"{self._repo_id} is {stage} and has not moved for {still:.0f} s"
        else:
            return
        raise SpaceFailedError(
            f"{message}{why}", repo_id=self._repo_id, runtime=runtime
        )

    def _was_so_before(self, runtime: SpaceRuntime) -> bool:
        return self._after is not None and self._after.stage is runtime.stage

    def timed_out(self, timeout: float, trouble: Exception | None) -> WaitTimeoutError:
        """Make the error for a wait that took too long.

        Args:
            timeout: Seconds that it was allowed.
            trouble: What the last look ended in, if it failed.
        """
        stage = self.last.stage if self.last else None
        was = f"it was {stage}" if stage else "it was never seen"
        if trouble is not None:
            was = f"{was}, and the last look failed: {trouble}"
        return WaitTimeoutError(
            f"{self._repo_id} did not get to {' or '.join(sorted(self._wanted))}"
            f" within {timeout:g} s; {was}",
            repo_id=self._repo_id,
            last_stage=stage,
            timeout=timeout,
        )


def telling_log(runtime: SpaceRuntime | None) -> str | None:
    """Return which log tells why a Space failed; None if neither does."""
    if runtime is None:
        return None
    stage = runtime.stage
    if stage is SpaceStage.BUILD_ERROR or stage.is_building:
        return "build"
    if stage is SpaceStage.RUNTIME_ERROR or stage.is_starting:
        return "run"
    return None


def _differ(before: SpaceRuntime, now: SpaceRuntime) -> bool:
    return (before.stage, before.sha, before.replicas, before.error_message) != (
        now.stage,
        now.sha,
        now.replicas,
        now.error_message,
    )
