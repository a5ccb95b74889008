"""What a Space does: its runtime, restart, pause, wait, duplicate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async import _validate
from spaces_async._follow import stage_rules, stage_wait
from spaces_async._operations import requests
from spaces_async._operations.requests import runtime_call, space_call
from spaces_async._repository import RepositoryLife
from spaces_async._wire.calls import Action, Done, Doubt, OnLost, Verdict
from spaces_async._wire.converter import (
    decode_runtime,
)
from spaces_async.errors import (
    SpaceFailedError,
)
from spaces_async.models import (
    SpaceRuntime,
    SpaceStage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


__all__ = ["Lifecycle"]

RESTART: Final = Action("restart", "POST", OnLost.VERIFY_THEN_REPEAT)
FACTORY_REBOOT: Final = Action("restart", "POST", OnLost.VERIFY)
PAUSE: Final = Action("pause", "POST")

SETTLE: Final = 2.0
"""Seconds after which a Space that was told to restart has left RUNNING."""

STARTS: Final = 10.0
"""Seconds that a restart takes at least until the Space is at rest again."""


class Lifecycle(RepositoryLife):
    """The life of a Space. Reached as `client.lifecycle`."""

    __slots__ = ()

    async def get_runtime(self, repo_id: str) -> SpaceRuntime:
        """Return what a Space does now: stage, hardware, sleep time, and more.

        Endpoint: `GET /api/spaces/{repo_id}/runtime`. Safe to repeat. Cancelling it
        leaves nothing behind.

        Args:
            repo_id: "owner/name".

        Returns:
            The runtime; keys that this package does not know are in `.raw`.

        Raises:
            SpaceNotFoundError: It does not exist, or the token may not see it.
            AuthenticationError: The token is wrong, or there is none and the Space is
                private or missing.
        """
        return await self._session.send(runtime_call(repo_id))

    async def restart(
        self, repo_id: str, *, factory_reboot: bool = False
    ) -> SpaceRuntime:
        """Restart a Space; the only way out of PAUSED.

        Endpoint: `POST /api/spaces/{repo_id}/restart[?factory=true]`. Not safe to
        repeat: each call is one more outage. When its answer is lost, the runtime is
        read: building or starting means that it took effect; otherwise a plain restart
        is sent once more, a factory reboot never. Where that look had to wait for more
        than 10 s, only PAUSED means that nothing happened. Cancelling it may leave the
        Space restarting.

        Args:
            repo_id: "owner/name".
            factory_reboot: Build anew without the cache; takes minutes.

        Returns:
            The runtime, usually with stage BUILDING.

        Raises:
            BadRequestError: A static Space cannot be restarted.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
            SpacesError: With `outcome_unknown` where nobody can say what happened.
        """
        factory = _validate.flag(factory_reboot, "factory_reboot")

        async def verify(_doubt: Doubt) -> Done[SpaceRuntime] | Verdict:
            clock = self._session.clock
            lost = clock.monotonic()
            runtime = await self._session.send(runtime_call(repo_id))
            if runtime.stage is SpaceStage.RUNNING and not factory:
                await clock.sleep(SETTLE)
                runtime = await self._session.send(runtime_call(repo_id))
            if runtime.stage.is_transitional:
                return Done(runtime)
            if factory:
                # It may be done already; a second rebuild costs too much to find out.
                return Verdict.UNKNOWN
            late = clock.monotonic() - lost > STARTS
            if late and runtime.stage is not SpaceStage.PAUSED:
                # The look had to wait, for the quota above all: it may be over by now.
                return Verdict.UNKNOWN
            settled = runtime.stage.is_failed or runtime.stage.is_idle
            if settled or runtime.stage is SpaceStage.RUNNING:
                return Verdict.NOT_DONE
            return Verdict.UNKNOWN

        return await self._session.send(
            space_call(
                FACTORY_REBOOT if factory else RESTART,
                repo_id,
                "restart",
                query=(("factory", "true"),) if factory else (),
                decode=decode_runtime,
                verify=verify,
                recover=requests.recover_runtime(self._session, repo_id),
            )
        )

    async def pause(self, repo_id: str) -> SpaceRuntime:
        """Pause a Space: it stops, costs nothing, and only a restart wakes it.

        Endpoint: `POST /api/spaces/{repo_id}/pause`. Safe to repeat. Cancelling it may
        leave the Space paused.

        Args:
            repo_id: "owner/name".

        Returns:
            The runtime with stage PAUSED.

        Raises:
            BadRequestError: A static Space cannot be paused.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        return await self._session.send(
            space_call(
                PAUSE,
                repo_id,
                "pause",
                decode=decode_runtime,
                verify=requests.runtime_shows(
                    self._session, repo_id, lambda r: r.stage is SpaceStage.PAUSED
                ),
                recover=requests.recover_runtime(self._session, repo_id),
            )
        )

    async def wait_until(
        self,
        repo_id: str,
        stages: Collection[SpaceStage | str] = (SpaceStage.RUNNING,),
        *,
        timeout: float | None = 600.0,  # noqa: ASYNC109  (measured by the clock)
        after: SpaceRuntime | None = None,
        stuck_after: float | None = None,
        on_stage: Callable[[SpaceRuntime], None] | None = None,
        events: bool = False,
    ) -> SpaceRuntime:
        """Wait until a Space is in one of some stages.

        Endpoint: `GET /api/spaces/{repo_id}/runtime`, at once and then at intervals
        that grow from 1 s to 15 s; where many Spaces of one owner are waited for,
        `GET /api/spaces?author=…&expand=runtime` for all of them, and each one's own
        runtime at last. Safe to repeat. A lost connection, a 5xx or a 429 does not end
        the wait. Cancelling it leaves nothing behind.

        Args:
            repo_id: "owner/name".
            stages: Where it should be; a stage that is not named here is no success,
                SLEEPING included.
            timeout: Seconds to wait; None waits for ever.
            after: The runtime that `restart` returned, or one from before: a RUNNING
                that may still be the old one is then not taken for the new one.
            stuck_after: Seconds without any change while it builds or starts after
                which it counts as failed; None waits on.
            on_stage: Called with each runtime whose stage is new. Must not block.
            events: Look at once when the Hub's event stream tells of a new stage. What
                that stream sends is not documented; without it the wait polls.

        Returns:
            The runtime in one of the stages.

        Raises:
            SpaceFailedError: It went to a failed stage, is paused or being deleted, or
                is stuck; with the last lines of its log where they could be read.
            WaitTimeoutError: It was not there in time.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        wanted = stage_rules.wanted_stages(stages)
        _validate.repo_id(repo_id)
        for name, value in (("timeout", timeout), ("stuck_after", stuck_after)):
            if value is not None:
                _validate.seconds(value, name)
        judge = stage_rules.StageJudge(
            repo_id,
            wanted,
            after=after,
            stuck_after=stuck_after,
            started=self._session.clock.monotonic(),
        )
        wait = stage_wait.StageWait(self._session, repo_id, wanted, events=events)
        try:
            async with wait:
                return await wait.run(judge, timeout=timeout, on_stage=on_stage)
        except SpaceFailedError as error:
            failed = error
        if (kind := stage_rules.log_kind_of_failure(failed.runtime)) is not None:
            failed.log_tail = await stage_wait.log_tail(self._session, repo_id, kind)
        raise failed

    async def wake(self, repo_id: str) -> SpaceRuntime:
        """Make a Space run again that sleeps, is stopped or is paused.

        Endpoint: `GET /api/spaces/{repo_id}/runtime`, then if it is idle
        `POST /api/spaces/{repo_id}/restart`. Safe to repeat: one that runs or starts is
        left alone. Cancelling it may leave the Space restarting.

        Args:
            repo_id: "owner/name".

        Returns:
            The runtime; use `wait_until` to wait for RUNNING.

        Raises:
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        runtime = await self.get_runtime(repo_id)
        return await self.restart(repo_id) if runtime.stage.is_idle else runtime
