"""What a Space does: its runtime, restart, pause, wait, duplicate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from spaces_async import _validate
from spaces_async._follow import stage_rules, stage_wait
from spaces_async._hints import Resource
from spaces_async._operations import requests, writes
from spaces_async._redacted import Redacted
from spaces_async._wire.converter import DecodeError, decode_object
from spaces_async.errors import (
    AuthenticationError,
    ConflictError,
    PaymentRequiredError,
    PermissionDeniedError,
    SpaceFailedError,
    SpacesError,
)
from spaces_async.models import CreatedSpace, SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from spaces_async._core.session import HubSession
    from spaces_async._operations.writes import Entries
    from spaces_async._wire.calls import Call
    from spaces_async.models import SpaceHardware, SpaceSdk, SpaceStorage, Volume

__all__ = ["Lifecycle"]

_IN_PROGRESS: Final = "another conflicting operation is in progress"
_IN_PROGRESS_WAITS_SECONDS: Final = (1.0, 2.0, 4.0, 8.0)


class Lifecycle(Resource):
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
        return await self._session.send(requests.runtime_call(repo_id))

    async def restart(
        self, repo_id: str, *, factory_reboot: bool = False
    ) -> SpaceRuntime:
        """Restart a Space; the only way out of PAUSED.

        Endpoint: `POST /api/spaces/{repo_id}/restart[?factory=true]`. Not safe to
        repeat: each call is one more outage. While its response is late, and after it
        was lost, the runtime is read: building or starting means that it took effect. A
        plain restart is sent once more where the Space has not left its stage within
        10 s, or where its log shows that its app was started before; a factory reboot
        never is. Cancelling it may leave the Space restarting.

        Args:
            repo_id: "owner/name".
            factory_reboot: Build again without the cache; takes minutes. A PAUSED Space
                has to be restarted first.

        Returns:
            The runtime, usually with stage BUILDING.

        Raises:
            BadRequestError: A static Space cannot be restarted.
            ConflictError: A factory reboot of a PAUSED Space. The Hub answers it with a
                success and changes nothing.
            ComputeQuotaError: The account's quota of the flavor is used up.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
            SpacesError: With `outcome_unknown` where it is not known what happened.
        """
        write = writes.restart(factory_reboot=factory_reboot)
        return await self._session.send(write.to(repo_id))

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
        return await self._session.send(writes.pause().to(repo_id))

    async def wait_until(
        self,
        repo_id: str,
        stages: Collection[SpaceStage | str] = (SpaceStage.RUNNING,),
        *,
        hardware: SpaceHardware | str | None = None,
        sha: str | None = None,
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
        the wait, nor does a 404 in its first 5 s: a new copy may not be there yet. A
        Space that runs on one flavor while another is requested has not arrived: it is
        about to restart. Cancelling it leaves nothing behind.

        Args:
            repo_id: "owner/name".
            stages: Where it should be; a stage that is not named here is no success,
                SLEEPING included.
            hardware: The flavor it should be on; None is the one requested for it.
            sha: The commit it should run, or the first 7 or more digits of it; None is
                any.
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
        goal = stage_rules.Goal(
            stage_rules.wanted_stages(stages),
            None if hardware is None else _validate.text(hardware, "hardware"),
            None if sha is None else stage_rules.commit(sha),
        )
        _validate.repo_id(repo_id)
        for name, value in (("timeout", timeout), ("stuck_after", stuck_after)):
            if value is not None:
                _validate.seconds(value, name)
        judge = stage_rules.StageJudge(
            repo_id,
            goal,
            after=after,
            stuck_after=stuck_after,
            started=self._session.clock.monotonic(),
        )
        wait = stage_wait.StageWait(self._session, repo_id, events=events)
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

    async def create(
        self,
        repo_id: str,
        *,
        sdk: SpaceSdk | str,
        private: bool | None = None,
        visibility: str | None = None,
        hardware: SpaceHardware | str | None = None,
        sleep_time: int | None = None,
        secrets: Entries = None,
        variables: Entries = None,
        volumes: Iterable[Volume] | None = None,
        template: str | None = None,
        short_description: str | None = None,
        sdk_version: str | None = None,
        dev_mode: bool | None = None,
        resource_group_id: str | None = None,
        region: str | None = None,
        license: str | None = None,  # noqa: A002  (the Hub's own word)
        files: Iterable[Mapping[str, str]] | None = None,
        exist_ok: bool = False,
    ) -> CreatedSpace:
        """Create a Space.

        Endpoint: `POST /api/repos/create`. Not safe to repeat and never repeated after
        a lost answer: the Space is looked for instead. Cancelling it may leave the
        Space created.

        Args:
            repo_id: "owner/name", or "name" under the caller's own account.
            sdk: "gradio", "docker" or "static".
            private: Whether it is private; not together with `visibility`.
            visibility: "public", "private" or "protected".
            hardware: Flavor; None is the free one.
            sleep_time: Seconds without a visit until it sleeps, -1 for never.
            secrets: `{"KEY": "value"}`, or `[{"key", "value", "description"}]`.
            variables: The same for variables.
            volumes: What to mount.
            template: The Space to start from; see `catalog.list_templates`.
            short_description: At most 60 characters.
            sdk_version: Version of the SDK.
            dev_mode: Start in dev mode.
            resource_group_id: Resource group of the org.
            region: "us" or "eu".
            license: Such as "apache-2.0".
            files: First commit: `[{"path", "content", "encoding"}]`.
            exist_ok: Take one that exists already for success.

        Returns:
            Where it is.

        Raises:
            ConflictError: It exists.
            PaymentRequiredError: The plan does not include it.
            InvalidHardwareError: The Hub refuses the flavor.
            SpacesError: With `outcome_unknown` where it is not known what happened.
        """
        hidden_secrets, hidden_variables = Redacted(secrets), Redacted(variables)
        del secrets, variables
        _validate.flag(exist_ok, "exist_ok")
        write = writes.create(
            repo_id,
            sdk=sdk,
            private=private,
            visibility=visibility,
            hardware=hardware,
            sleep_time=sleep_time,
            secrets=hidden_secrets,
            variables=hidden_variables,
            volumes=volumes,
            template=template,
            short_description=short_description,
            sdk_version=sdk_version,
            dev_mode=dev_mode,
            resource_group_id=resource_group_id,
            region=region,
            license=license,
            files=files,
        )
        return await self._create(write.to(None), repo_id, exist_ok=exist_ok)

    async def _create(
        self, call: Call[CreatedSpace], repo_id: str, *, exist_ok: bool
    ) -> CreatedSpace:
        for wait in (*_IN_PROGRESS_WAITS_SECONDS, None):
            try:
                return await self._session.send(call)
            except ConflictError as error:
                # The Hub makes one repository at a time for each user.
                if _IN_PROGRESS in error.message and wait is not None:
                    waiting = wait
                elif exist_ok and _IN_PROGRESS not in error.message:
                    known = existing_space(error, repo_id)
                    if known is not None:
                        return known
                    full = await requests.complete_id(self._session, repo_id)
                    return CreatedSpace(full, existed=True)
                else:
                    raise
            except (
                AuthenticationError,
                PaymentRequiredError,
                PermissionDeniedError,
            ):
                # Who may not create it may find that it exists.
                if not exist_ok:
                    raise
                there = await requests.complete_id(self._session, repo_id)
                if not await self._exists(there):
                    raise
                return CreatedSpace(there, existed=True)
            await self._session.clock.sleep(waiting)
        raise AssertionError  # pragma: no cover  (the last round returns or raises)

    async def _exists(self, repo_id: str) -> bool:
        try:
            await self._session.send(requests.info_call(repo_id, "createdAt"))
        except SpacesError:
            return False
        return True

    async def delete(self, repo_id: str, *, missing_ok: bool = False) -> None:
        """Delete a Space for good, with all that is in it.

        Endpoint: `DELETE /api/repos/delete`. Not repeated after a lost answer: if the
        Space is gone then, it was deleted. Cancelling it may leave it deleted.

        Args:
            repo_id: "owner/name".
            missing_ok: Take one that does not exist for success.

        Raises:
            PermissionDeniedError: The token may not delete it.
            SpaceNotFoundError: It does not exist, or the token may not see it.
            SpacesError: With `outcome_unknown` where it is not known what happened.
        """
        await self._session.send(writes.delete(missing_ok=missing_ok).to(repo_id))

    async def move(self, from_id: str, to_id: str) -> None:
        """Rename a Space, or move it to another owner.

        Endpoint: `POST /api/repos/move`. Not repeated after a lost answer: if the
        Space is at its new place then, it was moved. Cancelling it may leave it moved.

        Args:
            from_id: Where it is, "owner/name".
            to_id: Where it goes, "owner/name".

        Raises:
            ConflictError: `to_id` exists.
            PermissionDeniedError: The token may not do it.
            SpaceNotFoundError: It does not exist, or the token may not see it.
            SpacesError: With `outcome_unknown` where it is not known what happened.
        """
        await self._session.send(writes.move(to_id).to(from_id))

    async def duplicate(
        self,
        from_id: str,
        to_id: str | None = None,
        *,
        private: bool | None = None,
        visibility: str | None = None,
        hardware: SpaceHardware | str | None = None,
        storage: SpaceStorage | str | None = None,
        sleep_time: int | None = None,
        secrets: Entries = None,
        variables: Entries = None,
        volumes: Iterable[Volume] | None = None,
        resource_group_id: str | None = None,
    ) -> CreatedSpace:
        """Copy a Space. Its variables are copied too, its secrets are not.

        Endpoint: `POST /api/spaces/{from_id}/duplicate`. Not safe to repeat and never
        repeated after a lost answer: the copy is looked for instead. Cancelling it may
        leave a copy behind.

        Args:
            from_id: The Space to copy, "owner/name".
            to_id: The copy, "owner/name" or "name"; None is the same name under the
                caller's own account (one extra call, remembered).
            private: Whether the copy is private; None leaves it to the Hub, which
                decides by its own default and not by the original: pass True for the
                copy of a private Space.
            visibility: "public", "private" or "protected", instead of `private`.
            hardware: Flavor of the copy; None is the free one.
            storage: Tier of the legacy storage; None is none. Use volumes.
            sleep_time: Seconds without a visit until it sleeps, -1 for never.
            secrets: `{"KEY": "value"}`, or `[{"key", "value", "description"}]`.
            variables: The same for variables.
            volumes: What to mount.
            resource_group_id: Resource group of the copy's org.

        Returns:
            Where the copy is.

        Raises:
            ConflictError: `to_id` exists.
            InvalidHardwareError: The Hub refuses the flavor.
            PaymentRequiredError: The plan does not include it.
            SpacesError: With `outcome_unknown` where it is not known what happened.
        """
        hidden_secrets, hidden_variables = Redacted(secrets), Redacted(variables)
        del secrets, variables
        write = partial(
            writes.duplicate,
            private=private,
            visibility=visibility,
            hardware=hardware,
            storage=storage,
            sleep_time=sleep_time,
            secrets=hidden_secrets,
            variables=hidden_variables,
            volumes=volumes,
            resource_group_id=resource_group_id,
        )
        write(from_id)  # what is malformed is refused before anything is sent
        target = await self._target(from_id, to_id)
        return await self._session.send(write(target).to(from_id))

    async def _target(self, from_id: str, to_id: str | None) -> str:
        """Complete the id of a copy."""
        source_name = _validate.repo_id(from_id)[1]
        name = source_name if to_id is None else _validate.text(to_id, "to_id")
        if "/" in name:
            return "/".join(_validate.repo_id(name))
        _validate.name(name, "to_id")
        me = (await self._session.send(requests.whoami_call())).name
        return f"{_validate.name(me, 'the name of the account')}/{name}"


def existing_space(error: ConflictError, repo_id: str | None) -> CreatedSpace | None:
    """Say where a Space is that was there already: the Hub tells its URL.

    Returns:
        Where it is; None where neither the id nor the answer says it.
    """
    try:
        raw = decode_object((error.body or "").encode())
    except DecodeError:
        raw = {}
    url = raw.get("url")
    told = url if isinstance(url, str) else None
    if repo_id is not None and "/" in repo_id:
        return CreatedSpace(repo_id, told, raw, existed=True)
    if told is None:
        return None
    repo_id = "/".join(told.rstrip("/").split("/")[-2:])
    return CreatedSpace(repo_id, told, raw, existed=True)
