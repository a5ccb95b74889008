"""Rules of a wait for a stage: reached, never to be reached, or stuck. Pure.

A `StageJudge` is given one runtime after another and decides. Reading and sleeping are
done by its caller, `StageWait`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from spaces_async import _validate
from spaces_async._wire.compute_quota import compute_quota_error
from spaces_async.errors import ConfigurationError, SpaceFailedError, WaitTimeoutError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Collection

SETTLE_SECONDS: Final = 10.0
"""After this time, a RUNNING that never changed counts as the new state."""

_COMMIT: Final = re.compile("[0-9a-fA-F]{7,64}")
_DEAD_END_STAGES: Final = frozenset({SpaceStage.PAUSED, SpaceStage.DELETING})


def wanted_stages(stages: Collection[SpaceStage | str]) -> frozenset[SpaceStage]:
    """Check the stages to wait for.

    Raises:
        ConfigurationError: There are none, or one is unknown.
    """
    # A single stage is a string, which is itself a collection of strings.
    given = (stages,) if isinstance(stages, str) else _validate.items(stages, "stages")
    wanted = frozenset(SpaceStage(_validate.text(stage, "a stage")) for stage in given)
    if not wanted:
        raise ConfigurationError("stages is empty; pass at least one stage to wait for")
    unknown = sorted(repr(str(stage)) for stage in wanted if not stage.is_known)
    if unknown:
        raise ConfigurationError(
            f"unknown stage {', '.join(unknown)}; known: {', '.join(SpaceStage)}"
        )
    return wanted


@frozen
class Goal:
    """What a wait waits for.

    Attributes:
        stages: The Space must be in one of these.
        hardware: The flavor that it must be on; None is the one requested for it.
        sha: The commit that it must run, or the beginning of it; None is any.
    """

    stages: frozenset[SpaceStage]
    hardware: str | None = None
    sha: str | None = None

    def __str__(self) -> str:
        """Return it as in "did not reach RUNNING on t4-small"."""
        stages = " or ".join(sorted(self.stages))
        hardware = f" on {self.hardware}" if self.hardware else ""
        return f"{stages}{hardware}{f' with commit {self.sha}' if self.sha else ''}"

    def missing(self, runtime: SpaceRuntime) -> str | None:
        """Return what a runtime in one of the stages lacks; None if nothing."""
        current, requested = runtime.hardware, runtime.requested_hardware
        if not runtime.stage.is_running:
            current = requested  # nothing runs, so it is on no hardware
        if self.hardware is not None and current != self.hardware:
            return f"is on {current or 'no hardware'}, not {self.hardware}"
        if None not in (current, requested) and current != requested:
            return f"is still on {current}; {requested} is requested"
        if not self._has_commit(runtime):
            return f"runs commit {runtime.sha or 'unknown'}, not {self.sha}"
        return None

    def _has_commit(self, runtime: SpaceRuntime) -> bool:
        return self.sha is None or (runtime.sha or "").startswith(self.sha)

    def may_begin_to_run(self, runtime: SpaceRuntime) -> bool:
        """Return whether the Hub may not have noticed the commit yet."""
        return not self._has_commit(runtime)


def commit(sha: str) -> str:
    """Check a commit to wait for.

    Raises:
        ConfigurationError: It is not the beginning of a commit's hash.
    """
    if not _COMMIT.fullmatch(_validate.text(sha, "sha")):
        raise ConfigurationError(
            f"sha is the hash of a commit, or its first 7 or more digits, not {sha!r}"
        )
    return sha.lower()


class StageJudge:
    """Decides from the runtimes of one Space whether the wait for a stage is over."""

    def __init__(
        self,
        repo_id: str,
        goal: Goal,
        *,
        after: SpaceRuntime | None,
        stuck_after: float | None,
        started: float,
    ) -> None:
        self._repo_id = repo_id
        self._goal = goal
        self._after = after
        self._stuck_after = stuck_after
        self._started = started
        self._changed_at = started
        self._has_left_wanted = False
        self.last: SpaceRuntime | None = None

    def arrived(self, runtime: SpaceRuntime, now: float) -> bool:
        """Take the next runtime and return whether the wait is over.

        Args:
            runtime: The runtime that was just read.
            now: When it was read, on the clock of the wait.

        Raises:
            SpaceFailedError: The Space will not reach the stage on its own, or is
                stuck.
        """
        if self.last is None or _has_changed(self.last, runtime):
            self._changed_at = now
        self.last = runtime
        if runtime.stage in self._goal.stages:
            if self._goal.missing(runtime) is None:
                return not self._may_be_stale(runtime, now)
            return False
        self._has_left_wanted = True
        self._raise_if_hopeless(runtime, now)
        return False

    def _may_be_stale(self, runtime: SpaceRuntime, now: float) -> bool:
        """Return whether this may still be the state from before a restart."""
        before = self._after
        if before is None or self._has_left_wanted:
            return False
        if runtime.stage is not SpaceStage.RUNNING:
            return False
        if before.sha is not None and runtime.sha not in (None, before.sha):
            return False
        replicas_known = (
            before.replicas is not None and before.replicas.current is not None
        )
        if replicas_known and runtime.replicas != before.replicas:
            return False
        return now - self._started < SETTLE_SECONDS

    def _raise_if_hopeless(self, runtime: SpaceRuntime, now: float) -> None:
        stage = runtime.stage
        why = f": {runtime.error_message}" if runtime.error_message else ""
        if stage.is_failed or stage in _DEAD_END_STAGES:
            # Right after a restart the Hub may still report the previous failure.
            if (
                self._is_stage_from_before(runtime)
                and now - self._started < SETTLE_SECONDS
            ):
                return
            message = (
                f"{self._repo_id} is {stage} and will not reach {self._goal} on its own"
            )
        elif (
            self._stuck_after is not None
            and stage.is_transitional
            and now - self._changed_at >= self._stuck_after
        ):
            unchanged = now - self._changed_at
            message = (
                f"{self._repo_id} is stuck: {stage} with no change for"
                f" {unchanged:.0f} s"
            )
        else:
            return
        raise SpaceFailedError(
            f"{message}{why}", repo_id=self._repo_id, runtime=runtime
        ) from compute_quota_error(runtime.error_message)

    def _is_stage_from_before(self, runtime: SpaceRuntime) -> bool:
        if self._goal.may_begin_to_run(runtime):
            return True
        return self._after is not None and self._after.stage is runtime.stage

    def is_decisive(self, runtime: SpaceRuntime) -> bool:
        """Return whether a runtime of a listing, which may be old, needs a closer look.

        A Space that runs without what is still missing does not.
        """
        if runtime.stage not in self._goal.stages:
            return not runtime.stage.is_transitional
        return self._goal.missing(runtime) is None or (
            self._goal.sha is not None and runtime.sha is None
        )

    def timed_out(
        self, timeout: float, last_error: Exception | None
    ) -> WaitTimeoutError:
        """Return the error for a wait that timed out.

        Args:
            timeout: Seconds that the wait was allowed to take.
            last_error: The error of the last read, if it failed.
        """
        stage = self.last.stage if self.last else None
        missing = None
        if self.last is not None and stage in self._goal.stages:
            missing = self._goal.missing(self.last)
        was = f"its last stage was {stage}" if stage else "its stage could not be read"
        if missing is not None:
            was = f"it is {stage}, but {missing}"
        if last_error is not None:
            was = f"{was}, and the last read failed: {last_error}"
        return WaitTimeoutError(
            f"{self._repo_id} did not reach {self._goal} within {timeout:g} s; {was}",
            repo_id=self._repo_id,
            last_stage=stage,
            timeout=timeout,
            missing=missing,
            unread=last_error is not None,
        )


def log_kind_of_failure(runtime: SpaceRuntime | None) -> str | None:
    """Return which log explains why a Space failed; None if neither does."""
    if runtime is None:
        return None
    stage = runtime.stage
    if stage is SpaceStage.BUILD_ERROR or stage.is_building:
        return "build"
    if stage is SpaceStage.RUNTIME_ERROR or stage.is_starting:
        return "run"
    return None


def _has_changed(before: SpaceRuntime, now: SpaceRuntime) -> bool:
    return (before.stage, before.sha, before.replicas, before.error_message) != (
        now.stage,
        now.sha,
        now.replicas,
        now.error_message,
    )
