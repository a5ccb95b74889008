"""`wait`: waiting for many Spaces at once, each change of a stage shown."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from attrs import frozen

from spaces_async._follow.stage_rules import Goal
from spaces_async.bulk import Operation, operations
from spaces_async.cli._output import human_seconds
from spaces_async.errors import WaitTimeoutError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from spaces_async.cli._progress import ProgressDisplay
    from spaces_async.client import SpacesClient

__all__ = ["WAIT_CONCURRENCY", "WaitGoal"]

WAIT_CONCURRENCY: Final = 1000
"""How many waits run at the same time: as many as a bulk allows.

The waits for Spaces of one owner share the calls, so there is no reason for fewer.
"""


@frozen
class WaitGoal:
    """What to wait for.

    Attributes:
        stages: Each Space must reach one of these.
        timeout: Seconds for all of them together.
        hardware: The flavor that each must be on; None is the one requested for it.
        sha: The commit that each must run; None is any.
    """

    stages: Collection[SpaceStage]
    timeout: float
    hardware: str | None = None
    sha: str | None = None

    def operation(
        self, client: SpacesClient, display: ProgressDisplay
    ) -> Operation[SpaceRuntime]:
        """Return the operation; the time starts now."""
        clock = client.clock
        end = clock.monotonic() + self.timeout

        async def follow(client: SpacesClient, repo_id: str) -> SpaceRuntime:
            try:
                return await client.lifecycle.wait_until(
                    repo_id,
                    self.stages,
                    hardware=self.hardware,
                    sha=self.sha,
                    timeout=max(0.0, end - clock.monotonic()),
                    on_stage=lambda runtime: display.set_stage(repo_id, runtime.stage),
                )
            except WaitTimeoutError as error:
                raise self._timed_out(repo_id, error) from None

        return operations.as_operation(follow, name="wait", only_reads=True)

    def _timed_out(self, repo_id: str, error: WaitTimeoutError) -> WaitTimeoutError:
        # The library names what was left for this Space; the user gave one limit for all.
        goal = Goal(frozenset(self.stages), self.hardware, self.sha)
        last = error.last_stage
        was = f"it is {last}" if last else "its stage could not be read"
        if last is SpaceStage.SLEEPING:
            was = f"{was} until a visit or `spaces-async wake {repo_id}`"
        if error.missing is not None:
            was = f"{was}, but {error.missing}"
        return WaitTimeoutError(
            f"{repo_id} did not reach {goal} within"
            f" {human_seconds(self.timeout)}; {was}",
            repo_id=repo_id,
            last_stage=last,
            timeout=self.timeout,
            missing=error.missing,
        )
