"""Waiting for many Spaces at once, each change of a stage shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

import click
from attrs import field, frozen

from spaces_async.bulk import Operation, operations
from spaces_async.cli._output import human_seconds
from spaces_async.cli._times import Seconds
from spaces_async.errors import WaitTimeoutError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from spaces_async.cli._board import Board
    from spaces_async.client import SpacesClient

__all__ = ["WAITS", "Wait", "timeout_option"]

WAITS: Final = 1000
"""How many are waited for at the same time: as many as a bulk allows.

The waits for Spaces of one owner share the calls, so none of them is held back.
"""


@frozen
class Wait:
    """What to wait for after the write, or instead of one.

    Attributes:
        stages: Where each Space should be.
        timeout: Seconds for all of them together.
        after: What the write returned, so that the state from before does not count.
    """

    stages: Collection[SpaceStage]
    timeout: float
    after: Mapping[str, SpaceRuntime | None] = field(
        factory=dict[str, "SpaceRuntime | None"]
    )

    def operation(self, client: SpacesClient, board: Board) -> Operation[SpaceRuntime]:
        """Make the operation; its time runs from now on."""
        clock = client.clock
        end = clock.monotonic() + self.timeout

        async def follow(client: SpacesClient, repo_id: str) -> SpaceRuntime:
            try:
                return await client.lifecycle.wait_until(
                    repo_id,
                    self.stages,
                    timeout=max(0.0, end - clock.monotonic()),
                    after=self.after.get(repo_id),
                    on_stage=lambda runtime: board.stage(repo_id, runtime.stage),
                )
            except WaitTimeoutError as error:
                raise self._too_late(repo_id, error.last_stage) from None

        return operations.as_operation(follow, name="wait", only_reads=True)

    def _too_late(self, repo_id: str, last: SpaceStage | None) -> WaitTimeoutError:
        # In the words of the user, whose limit was for all of them.
        return WaitTimeoutError(
            f"{repo_id} did not get to {' or '.join(sorted(self.stages))} within"
            f" {human_seconds(self.timeout)}; it was {last or 'never seen'}",
            repo_id=repo_id,
            last_stage=last,
            timeout=self.timeout,
        )


def timeout_option(text: str, default: float | None) -> Callable[[Any], Any]:
    """Make the option for how long to wait."""
    return click.option(
        "--timeout",
        type=Seconds(zero=True),
        default=default,
        show_default=default is not None,
        metavar="SECONDS",
        help=text,
    )
