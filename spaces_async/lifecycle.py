"""What a Space does: its runtime, restart, pause, wait, duplicate."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from spaces_async import _requests, _validate
from spaces_async._calls import Action, Call, Done, Doubt, OnLost, Verdict, Verify
from spaces_async._converter import (
    JsonObject,
    decode_info,
    decode_object,
    decode_runtime,
)
from spaces_async._redacted import Redacted
from spaces_async._requests import runtime_call, space_call
from spaces_async.errors import (
    ConfigurationError,
    HubServerError,
    RateLimitError,
    SpaceFailedError,
    TransportError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from spaces_async.models import (
    CreatedSpace,
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceStage,
    SpaceStorage,
    SpaceVariable,
    Volume,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from spaces_async._session import HubSession

__all__ = ["Lifecycle"]

RESTART: Final = Action("restart", "POST", OnLost.VERIFY_THEN_REPEAT)
FACTORY_REBOOT: Final = Action("restart", "POST", OnLost.VERIFY)
PAUSE: Final = Action("pause", "POST")
DUPLICATE: Final = Action("duplicate", "POST", OnLost.VERIFY)
GET_INFO: Final = Action("get_info", "GET")

SETTLE: Final = 2.0
"""Seconds after which a Space that was told to restart has left RUNNING."""

_POLL_FIRST: Final = 1.0
_POLL_MOST: Final = 15.0
_POLL_GROWTH: Final = 1.5
# Clocks differ: a copy this much older than our request still counts as its effect.
_SKEW: Final = timedelta(seconds=30)
_TRANSIENT: Final = (
    TransportError,
    HubServerError,
    RateLimitError,
    UnexpectedResponseError,
)


class Lifecycle:
    """The life of a Space. Reached as `client.lifecycle`."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

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
        is sent once more, a factory reboot never. Cancelling it may leave the Space
        restarting.

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
            runtime = await self._session.send(runtime_call(repo_id))
            if runtime.stage is SpaceStage.RUNNING and not factory:
                await self._session.clock.sleep(SETTLE)
                runtime = await self._session.send(runtime_call(repo_id))
            if runtime.stage.is_transitional:
                return Done(runtime)
            if factory:
                # It may be done already; a second rebuild costs too much to find out.
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
                recover=_requests.recover_runtime(self._session, repo_id),
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
                verify=_requests.runtime_shows(
                    self._session, repo_id, lambda r: r.stage is SpaceStage.PAUSED
                ),
                recover=_requests.recover_runtime(self._session, repo_id),
            )
        )

    async def wait_until(
        self,
        repo_id: str,
        stages: Collection[SpaceStage | str] = (SpaceStage.RUNNING,),
        *,
        timeout: float | None = 600.0,  # noqa: ASYNC109  (measured by the clock)
    ) -> SpaceRuntime:
        """Wait until a Space is in one of some stages.

        Endpoint: `GET /api/spaces/{repo_id}/runtime`, at once and then at intervals
        that grow from 1 s to 15 s. Safe to repeat. A lost connection, a 5xx or a 429
        does not end the wait. Cancelling it leaves nothing behind.

        Args:
            repo_id: "owner/name".
            stages: Where it should be; a stage that is not named here is no success,
                SLEEPING included.
            timeout: Seconds to wait; None waits for ever.

        Returns:
            The runtime in one of the stages.

        Raises:
            SpaceFailedError: It went to a failed stage, is paused or being deleted,
                so that it will not get there by itself.
            WaitTimeoutError: It was not there in time.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        wanted = _stages(stages)
        if timeout is not None:
            _validate.seconds(timeout, "timeout")
        clock = self._session.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        interval = _POLL_FIRST
        runtime: SpaceRuntime | None = None
        trouble: Exception | None = None
        while True:
            try:
                looking = self._session.until(deadline)
                runtime = await looking.send(runtime_call(repo_id))
                trouble = None
            except _TRANSIENT as error:
                trouble = error
            if runtime is not None and trouble is None:
                if runtime.stage in wanted:
                    return runtime
                _refuse_dead_end(repo_id, runtime, wanted)
            pause = interval * random.uniform(0.8, 1.2)  # noqa: S311  (spreads load, no secret)
            if deadline is not None and clock.monotonic() + pause > deadline:
                pause = deadline - clock.monotonic()
                if pause <= 0:
                    raise _timed_out(repo_id, wanted, timeout, runtime, trouble)
            await clock.sleep(pause)
            interval = min(interval * _POLL_GROWTH, _POLL_MOST)

    async def duplicate(
        self,
        from_id: str,
        to_id: str | None = None,
        *,
        private: bool | None = None,
        hardware: SpaceHardware | str | None = None,
        storage: SpaceStorage | str | None = None,
        sleep_time: int | None = None,
        secrets: Mapping[str, str] | Iterable[Mapping[str, str]] | None = None,
        variables: (
            Mapping[str, str] | Iterable[Mapping[str, str] | SpaceVariable] | None
        ) = None,
        volumes: Iterable[Volume] | None = None,
    ) -> CreatedSpace:
        """Copy a Space. Its variables are copied too, its secrets are not.

        Endpoint: `POST /api/spaces/{from_id}/duplicate`. Not safe to repeat and never
        repeated after a lost answer: the copy is looked for instead. Cancelling it may
        leave a copy behind.

        Args:
            from_id: The Space to copy, "owner/name".
            to_id: The copy, "owner/name" or "name"; None is the same name under the
                caller's own account (one extra call, remembered).
            private: Whether the copy is private; None does as the Hub does.
            hardware: Flavor of the copy; None is the free one.
            storage: Tier of the legacy storage; None is none. Use volumes.
            sleep_time: Seconds without a visit until it sleeps, -1 for never.
            secrets: `{"KEY": "value"}`, or `[{"key", "value", "description"}]`.
            variables: The same for variables.
            volumes: What to mount.

        Returns:
            Where the copy is.

        Raises:
            ConflictError: `to_id` exists.
            InvalidHardwareError: The Hub refuses the flavor.
            PaymentRequiredError: The plan does not include it.
            SpacesError: With `outcome_unknown` where nobody can say what happened.
        """
        hidden_secrets, hidden_variables = Redacted(secrets), Redacted(variables)
        del secrets, variables
        body: dict[str, Any] = {}
        if private is not None:
            body["private"] = _validate.flag(private, "private")
        if hardware is not None:
            body["hardware"] = _validate.flavor(hardware)
        if storage is not None:
            body["storageTier"] = _validate.tier(storage)
        if sleep_time is not None:
            body["sleepTimeSeconds"] = _validate.sleep_time(sleep_time)
        if volumes is not None:
            body["volumes"] = _validate.volumes(volumes)
        boxed = {
            "secrets": _requests.entries(hidden_secrets, "secrets"),
            "variables": _requests.entries(hidden_variables, "variables"),
        }
        target = await self._target(from_id, to_id)
        body = {"repository": target, **body}
        return await self._session.send(
            space_call(
                DUPLICATE,
                from_id,
                "duplicate",
                body=_requests.json_body(body, **boxed),
                decode=lambda answer: _created(target, decode_object(answer)),
                verify=self._copy_exists(target),
                recover=lambda: self._created(target),
                refine=_requests.name_hardware(body.get("hardware")),
            )
        )

    async def _target(self, from_id: str, to_id: str | None) -> str:
        """Complete the id of a copy."""
        source_name = _validate.repo_id(from_id)[1]
        name = source_name if to_id is None else _validate.text(to_id, "to_id")
        if "/" in name:
            return "/".join(_validate.repo_id(name))
        _validate.name(name, "to_id")
        me = (await _requests.whoami(self._session)).get("name")
        return f"{_validate.name(me, 'the name of the account')}/{name}"

    async def _created(self, repo_id: str) -> CreatedSpace:
        info = await self._session.send(info_call(repo_id))
        return CreatedSpace(info.id, raw=info.raw)

    def _copy_exists(self, repo_id: str) -> Verify[CreatedSpace]:
        """Look for a copy that was made since the call was sent, and so by it."""

        async def verify(doubt: Doubt) -> Done[CreatedSpace] | Verdict:
            info = await self._session.send(info_call(repo_id))
            if info.created_at is None or info.created_at < doubt.since - _SKEW:
                return Verdict.UNKNOWN
            return Done(CreatedSpace(info.id, raw=info.raw))

        return verify


def info_call(repo_id: str) -> Call[SpaceInfo]:
    """Make the call that reads what verifying needs of a Space's info."""
    query = (("expand", "createdAt"),)
    return space_call(GET_INFO, repo_id, decode=decode_info, query=query)


def _created(repo_id: str, data: JsonObject) -> CreatedSpace:
    url = data.get("url")
    return CreatedSpace(repo_id, url if isinstance(url, str) else None, data)


def _stages(stages: Collection[SpaceStage | str]) -> frozenset[SpaceStage]:
    # One stage is a text, and a text is a collection of letters.
    given = (stages,) if isinstance(stages, str) else _validate.items(stages, "stages")
    wanted = frozenset(SpaceStage(_validate.text(stage, "a stage")) for stage in given)
    if not wanted:
        raise ConfigurationError("stages is empty: name at least one stage to wait for")
    unknown = sorted(stage for stage in wanted if not stage.is_known)
    if unknown:
        known = ", ".join(SpaceStage)
        raise ConfigurationError(f"unknown stages {unknown}; known: {known}")
    return wanted


def _refuse_dead_end(
    repo_id: str, runtime: SpaceRuntime, wanted: frozenset[SpaceStage]
) -> None:
    stage = runtime.stage
    stuck = stage.is_failed or stage in (SpaceStage.PAUSED, SpaceStage.DELETING)
    if not stuck:
        return
    why = f": {runtime.error_message}" if runtime.error_message else ""
    raise SpaceFailedError(
        f"{repo_id} is {stage} and will not get to"
        f" {' or '.join(sorted(wanted))} by itself{why}",
        repo_id=repo_id,
        runtime=runtime,
    )


def _timed_out(
    repo_id: str,
    wanted: frozenset[SpaceStage],
    timeout: float | None,
    runtime: SpaceRuntime | None,
    trouble: Exception | None,
) -> WaitTimeoutError:
    last = runtime.stage if runtime else None
    was = f"it was {last}" if last else "it was never seen"
    if trouble is not None:
        was = f"{was}, and the last look failed: {trouble}"
    return WaitTimeoutError(
        f"{repo_id} did not get to {' or '.join(sorted(wanted))} within"
        f" {timeout:g} s; {was}",
        repo_id=repo_id,
        last_stage=last,
        timeout=timeout,
    )
