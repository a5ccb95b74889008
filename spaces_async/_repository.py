"""The life of a Space as a repository: create, duplicate, move, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from spaces_async import _validate
from spaces_async._operations import requests
from spaces_async._operations.requests import json_body, space_call
from spaces_async._redacted import Redacted
from spaces_async._wire.calls import (
    Action,
    Call,
    Done,
    Doubt,
    OnLost,
    Verdict,
    Verify,
    nothing,
)
from spaces_async._wire.converter import (
    DecodeError,
    JsonObject,
    decode_info,
    decode_object,
)
from spaces_async.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    SpaceNotFoundError,
    SpacesError,
)
from spaces_async.models import (
    CreatedSpace,
    SpaceHardware,
    SpaceInfo,
    SpaceSdk,
    SpaceStorage,
    SpaceVariable,
    Volume,
)

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession

CREATE: Final = Action("create", "POST", OnLost.VERIFY)
DUPLICATE: Final = Action("duplicate", "POST", OnLost.VERIFY)
MOVE: Final = Action("move", "POST", OnLost.VERIFY)
DELETE: Final = Action("delete", "DELETE", OnLost.VERIFY)
GET_INFO: Final = Action("get_info", "GET")

# Clocks differ: a copy this much older than our request still counts as its effect.
_SKEW: Final = timedelta(seconds=30)
_REGIONS: Final = {"us": "us", "eu": "eu"}
_IN_PROGRESS: Final = "another conflicting operation is in progress"
_PROGRESS_WAITS: Final = (1.0, 2.0, 4.0, 8.0)

Entries = Mapping[str, str] | Iterable[Mapping[str, str] | SpaceVariable] | None
"""`{"KEY": "value"}`, or `[{"key", "value", "description"}, ...]`."""


class RepositoryLife:
    """What makes a Space, and what makes an end of it."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

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
            SpacesError: With `outcome_unknown` where nobody can say what happened.
        """
        hidden_secrets, hidden_variables = Redacted(secrets), Redacted(variables)
        del secrets, variables
        _validate.flag(exist_ok, "exist_ok")
        owner, name = _validate.repo_id_or_name(repo_id)
        body: dict[str, Any] = {"name": name, "organization": owner}
        body |= requests.visibility(private, visibility)
        body |= {"type": "space", "sdk": _validate.sdk(sdk)}
        if template is not None:
            body["template"] = "/".join(_validate.repo_id(template))
        body |= _common(hardware=hardware, sleep_time=sleep_time, volumes=volumes)
        if short_description is not None:
            body["short_description"] = _validate.short_description(short_description)
        for key, value in (
            ("sdkVersion", sdk_version),
            ("resourceGroupId", resource_group_id),
            ("license", license),
        ):
            if value is not None:
                body[key] = _validate.text(value, key)
        if dev_mode is not None:
            body["devModeEnabled"] = _validate.flag(dev_mode, "dev_mode")
        if region is not None:
            body["region"] = requests.one_of(region, _REGIONS, "region")
        if files is not None:
            body["files"] = _validate.files(files)
        boxed = {
            "secrets": requests.entries(hidden_secrets, "secrets"),
            "variables": requests.entries(hidden_variables, "variables"),
        }
        call = Call(
            action=CREATE,
            segments=("repos", "create"),
            body=json_body(body, **boxed),
            secrets=requests.values(boxed["secrets"]),
            decode=lambda answer: _created(repo_id, decode_object(answer)),
            verify=self._copy_exists(repo_id),
            recover=lambda: self._created(repo_id),
            refine=requests.name_hardware(body.get("hardware")),
        )
        return await self._create(call, repo_id, exist_ok=exist_ok)

    async def _create(
        self, call: Call[CreatedSpace], repo_id: str, *, exist_ok: bool
    ) -> CreatedSpace:
        for wait in (*_PROGRESS_WAITS, None):
            try:
                return await self._session.send(call)
            except ConflictError as error:
                # The Hub makes one repository at a time for each user.
                if _IN_PROGRESS in error.message and wait is not None:
                    waiting = wait
                elif exist_ok and _IN_PROGRESS not in error.message:
                    known = existing(error, repo_id)
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
            await self._session.send(info_call(repo_id))
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
            SpacesError: With `outcome_unknown` where nobody can say what happened.
        """
        owner, name = _validate.repo_id(repo_id)
        _validate.flag(missing_ok, "missing_ok")

        async def verify(_doubt: Doubt) -> Done[None] | Verdict:
            try:
                await self._session.send(info_call(repo_id))
            except SpaceNotFoundError:
                return Done(None)
            return Verdict.UNKNOWN

        call = Call(
            action=DELETE,
            segments=("repos", "delete"),
            body=json_body({"name": name, "organization": owner, "type": "space"}),
            decode=nothing,  # the text "OK"
            repo_id=repo_id,
            verify=verify,
            recover=requests.applied,
        )
        try:
            await self._session.send(call)
        except NotFoundError:
            if not missing_ok:
                raise

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
            SpacesError: With `outcome_unknown` where nobody can say what happened.
        """
        source = "/".join(_validate.repo_id(from_id))
        target = "/".join(_validate.repo_id(to_id))

        async def verify(_doubt: Doubt) -> Done[None] | Verdict:
            try:
                there = await self._session.send(info_call(source))
            except SpaceNotFoundError:
                there = None
            # The Hub may redirect from the old name to the new one.
            if there is not None and there.id != target:
                return Verdict.UNKNOWN
            info = await self._session.send(info_call(target))
            return Done(None) if info.id == target else Verdict.UNKNOWN

        body = {"fromRepo": source, "toRepo": target, "type": "space"}
        await self._session.send(
            Call(
                action=MOVE,
                segments=("repos", "move"),
                body=json_body(body),
                decode=nothing,  # no content is declared
                repo_id=from_id,
                verify=verify,
                recover=requests.applied,
            )
        )

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
            private: Whether the copy is private; None does as the Hub does.
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
            SpacesError: With `outcome_unknown` where nobody can say what happened.
        """
        hidden_secrets, hidden_variables = Redacted(secrets), Redacted(variables)
        del secrets, variables
        body = requests.visibility(private, visibility)
        if resource_group_id is not None:
            body["resourceGroupId"] = _validate.text(resource_group_id, "a group's id")
        if storage is not None:
            body["storageTier"] = _validate.tier(storage)
        body |= _common(hardware=hardware, sleep_time=sleep_time, volumes=volumes)
        boxed = {
            "secrets": requests.entries(hidden_secrets, "secrets"),
            "variables": requests.entries(hidden_variables, "variables"),
        }
        target = await self._target(from_id, to_id)
        body = {"repository": target, **body}
        return await self._session.send(
            space_call(
                DUPLICATE,
                from_id,
                "duplicate",
                body=json_body(body, **boxed),
                secrets=requests.values(boxed["secrets"]),
                decode=lambda answer: _created(target, decode_object(answer)),
                verify=self._copy_exists(target),
                recover=lambda: self._created(target),
                refine=requests.name_hardware(body.get("hardware")),
            )
        )

    async def _target(self, from_id: str, to_id: str | None) -> str:
        """Complete the id of a copy."""
        source_name = _validate.repo_id(from_id)[1]
        name = source_name if to_id is None else _validate.text(to_id, "to_id")
        if "/" in name:
            return "/".join(_validate.repo_id(name))
        _validate.name(name, "to_id")
        me = (await requests.whoami(self._session)).name
        return f"{_validate.name(me, 'the name of the account')}/{name}"

    async def _created(self, repo_id: str) -> CreatedSpace:
        full = await requests.complete_id(self._session, repo_id)
        info = await self._session.send(info_call(full))
        return CreatedSpace(info.id, raw=info.raw)

    def _copy_exists(self, repo_id: str) -> Verify[CreatedSpace]:
        """Look for a copy that was made since the call was sent, and so by it."""

        async def verify(doubt: Doubt) -> Done[CreatedSpace] | Verdict:
            full = await requests.complete_id(self._session, repo_id)
            info = await self._session.send(info_call(full))
            since = doubt.sent_at()
            if info.created_at is None or since is None:
                return Verdict.UNKNOWN
            if info.created_at < since - _SKEW:
                return Verdict.UNKNOWN
            return Done(CreatedSpace(info.id, raw=info.raw))

        return verify


def _common(
    *,
    hardware: SpaceHardware | str | None,
    sleep_time: int | None,
    volumes: Iterable[Volume] | None,
) -> dict[str, Any]:
    """Check what creating and duplicating have in common."""
    body: dict[str, Any] = {}
    if hardware is not None:
        body["hardware"] = _validate.flavor(hardware)
    if sleep_time is not None:
        body["sleepTimeSeconds"] = _validate.sleep_time(sleep_time)
    if volumes is not None:
        body["volumes"] = _validate.volumes(volumes)
    return body


def info_call(repo_id: str) -> Call[SpaceInfo]:
    """Make the call that reads what verifying needs of a Space's info."""
    query = (("expand", "createdAt"),)
    return space_call(GET_INFO, repo_id, decode=decode_info, query=query)


def _created(repo_id: str, data: JsonObject) -> CreatedSpace:
    url, name = data.get("url"), data.get("name")
    if "/" not in repo_id and isinstance(name, str):
        # A bare name was asked for; the answer says under whose account it is.
        repo_id = name
    return CreatedSpace(repo_id, url if isinstance(url, str) else None, data)


def existing(error: ConflictError, repo_id: str | None) -> CreatedSpace | None:
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
