"""What lies under `AsyncHfApi`: who makes a call, and what is more than a table."""

from __future__ import annotations

import asyncio
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from spaces_async import _validate
from spaces_async._operations import requests
from spaces_async._operations.requests import json_body, space_call
from spaces_async._redacted import Redacted
from spaces_async._repository import existing
from spaces_async._wire.calls import Action, Call, Done, Doubt, Verdict, nothing
from spaces_async._wire.converter import (
    decode_variables,
    decoder,
)
from spaces_async.config import ADD_VARIABLE
from spaces_async.errors import ConfigurationError, ConflictError
from spaces_async.models import CreatedSpace, SpaceStage, SpaceVariable
from spaces_async.records import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spaces_async._core.session import HubSession
    from spaces_async._repository import Entries
    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceHardware, SpaceRuntime, SpaceStorage, Volume
    from spaces_async.records import SpaceTemplate

__all__ = ["Auth", "HfBase", "boxing", "opened", "session_of", "spaces_only"]

T = TypeVar("T")
Auth = str | bool | None
"""Who makes a call: a token, False (nobody), None or True (whoever the client is)."""

UPDATE_SETTINGS: Final = Action("update_settings", "PUT")
_HIDDEN: Final = frozenset({"token", "value", "secrets", "space_secrets"})
_SETTLED: Final = frozenset(stage for stage in SpaceStage if not stage.is_transitional)
_GATED: Final = ("auto", "manual", False)


def boxing(kind: type[T]) -> type[T]:
    """Let the coroutine methods of a class get tokens and secrets boxed.

    Their frames live as long as the call does, and a traceback may show their locals.
    """
    for name, method in list(vars(kind).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(kind, name, _boxed(method))
    return kind


def _boxed(method: Callable[..., Any]) -> Callable[..., Any]:
    names = tuple(inspect.signature(method).parameters)
    hidden = {at for at, name in enumerate(names) if name in _HIDDEN}

    @wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(Redacted(a) if at in hidden else a for at, a in enumerate(args))
        for name in _HIDDEN & kwargs.keys():
            kwargs[name] = Redacted(kwargs[name])
        return await method(*args, **kwargs)

    return call


def opened(boxed: T) -> T:
    """Take what `boxing` has boxed out of its box."""
    return cast("T", boxed.reveal()) if isinstance(boxed, Redacted) else boxed


def session_of(client: SpacesClient) -> HubSession:
    """Return the session of a client, for the few calls that no resource has."""
    return client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


@boxing
class HfBase:
    """The methods of `AsyncHfApi` that do more than to call a resource's."""

    client: SpacesClient

    def _as(self, token: object) -> SpacesClient:
        """Return the client as whoever makes this call."""
        boxed: Redacted[Any] = token if isinstance(token, Redacted) else Redacted(token)  # pyright: ignore[reportUnknownVariableType]
        del token
        if boxed.reveal() is None or boxed.reveal() is True:
            return self.client
        return self.client.with_token(boxed.reveal())

    async def whoami(self, token: Auth = None, *, cache: bool = False) -> Account:
        """Read `GET /api/whoami-v2`; with `cache` once for each token.

        The dict that HfApi returns is `.raw` of the account.
        """
        client = self._as(token)
        session = session_of(client)
        if await session.ready() is None:
            raise ConfigurationError("whoami needs a token, and there is none")
        if cache:
            return await client.catalog.whoami()
        return await session.send(
            Call(
                action=requests.WHOAMI,
                segments=("whoami-v2",),
                decode=decoder(Account),
            )
        )

    async def wait_for_space(
        self,
        repo_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  (HfApi's own word)
        poll_interval: float = 1.0,
        token: Auth = None,
    ) -> SpaceRuntime:
        """Poll `GET /api/spaces/{repo_id}/runtime` until it neither builds nor starts.

        It returns then, whatever the stage is. The intervals are those of
        `Lifecycle.wait_until` (1 s, growing to 15 s); `poll_interval` is only checked.
        """
        if _validate.seconds(poll_interval, "poll_interval") == 0:
            raise ConfigurationError("poll_interval must be above 0")
        lifecycle = self._as(token).lifecycle
        unheard_of: list[SpaceRuntime] = []

        def on_stage(runtime: SpaceRuntime) -> None:
            if not runtime.stage.is_known:
                unheard_of.append(runtime)
                limit.reschedule(0)

        try:
            async with asyncio.timeout(None) as limit:
                return await lifecycle.wait_until(
                    repo_id, _SETTLED, timeout=timeout, on_stage=on_stage
                )
        except TimeoutError:
            if unheard_of:
                return unheard_of[0]
            raise

    async def add_space_variable(
        self,
        repo_id: str,
        key: str,
        value: str,
        *,
        description: str | None = None,
        token: Auth = None,
    ) -> dict[str, SpaceVariable]:
        """Send `POST /api/spaces/{repo_id}/variables`; `Config.add_variable`.

        It returns all variables, as HfApi does.
        """
        client, value = self._as(token), opened(value)
        _validate.key(key)
        entry = {"key": key, "value": _validate.text(value, "the value of a variable")}
        if description is not None:
            entry["description"] = _validate.text(description, "description")
        everything = client.config.get_variables

        async def verify(_doubt: Doubt) -> Done[dict[str, SpaceVariable]] | Verdict:
            variables = await everything(repo_id)
            now = variables.get(key, SpaceVariable(key))
            same = now.value == value and description in (None, now.description)
            return Done(variables) if same else Verdict.NOT_DONE

        call = space_call(
            ADD_VARIABLE,
            repo_id,
            "variables",
            body=json_body(entry),
            decode=decode_variables,
            verify=verify,
            recover=lambda: everything(repo_id),
        )
        return await session_of(client).send(call)

    async def create_repo(
        self,
        repo_id: str,
        *,
        token: Auth = None,
        private: bool | None = None,
        visibility: str | None = None,
        repo_type: str | None = None,
        exist_ok: bool = False,
        resource_group_id: str | None = None,
        region: str | None = None,
        space_sdk: str | None = None,
        space_hardware: SpaceHardware | str | None = None,
        space_sleep_time: int | None = None,
        space_secrets: Entries = None,
        space_variables: Entries = None,
        space_volumes: Iterable[Volume] | None = None,
        space_template: str | None = None,
    ) -> CreatedSpace:
        """Send `POST /api/repos/create`; `Lifecycle.create`.

        With `space_template`, a template's name or id, `GET /api/spaces/templates`
        comes first: it brings the SDK, and private where the template prefers it.
        """
        spaces_only("create_repo", repo_type)
        client = self._as(token)
        template: str | None = None
        if space_template is not None:
            _validate.repo_id_or_name(repo_id)
            chosen = requests.visibility(private, visibility)
            found = _template(await client.catalog.list_templates(), space_template)
            if space_sdk not in (None, found.sdk):
                raise ConfigurationError(
                    f"space_sdk must be {found.sdk}, as that of the template is,"
                    f" not {space_sdk!r}"
                )
            template, space_sdk = found.repo_id, found.sdk
            if found.preferred_private and not chosen:
                visibility = "private"
        if space_sdk is None:
            raise ConfigurationError("create_repo needs space_sdk for a Space")
        return await client.lifecycle.create(
            repo_id,
            sdk=space_sdk,
            private=private,
            visibility=visibility,
            hardware=space_hardware,
            sleep_time=space_sleep_time,
            secrets=opened(space_secrets),
            variables=space_variables,
            volumes=list(space_volumes or ()) or None,
            template=template,
            resource_group_id=resource_group_id,
            region=region,
            exist_ok=exist_ok,
        )

    async def update_repo_settings(
        self,
        repo_id: str,
        *,
        gated: Literal["auto", "manual", False] | None = None,
        private: bool | None = None,
        visibility: str | None = None,
        token: Auth = None,
        repo_type: str | None = None,
    ) -> None:
        """Send `PUT /api/spaces/{repo_id}/settings`; `Config.set_visibility`.

        Safe to repeat: the end state is the same.
        """
        spaces_only("update_repo_settings", repo_type)
        body = requests.visibility(private, visibility)
        if gated is not None:
            if gated not in _GATED:
                raise ConfigurationError(f"gated must be one of {_GATED}")
            body["gated"] = gated
        if not body:
            raise ConfigurationError("pass gated, private or visibility")
        call = space_call(
            UPDATE_SETTINGS,
            repo_id,
            "settings",
            body=json_body(body),
            decode=nothing,
            recover=requests.applied,
        )
        await session_of(self._as(token)).send(call)

    async def duplicate_repo(
        self,
        from_id: str,
        to_id: str | None = None,
        *,
        repo_type: str | None = None,
        private: bool | None = None,
        visibility: str | None = None,
        token: Auth = None,
        exist_ok: bool = False,
        resource_group_id: str | None = None,
        space_hardware: SpaceHardware | str | None = None,
        space_sleep_time: int | None = None,
        space_secrets: Entries = None,
        space_variables: Entries = None,
        space_volumes: Iterable[Volume] | None = None,
    ) -> CreatedSpace:
        """Send `POST /api/spaces/{from_id}/duplicate`; `Lifecycle.duplicate`.

        Without an owner in `to_id`, `GET /api/whoami-v2` comes first.
        """
        spaces_only("duplicate_repo", repo_type)
        try:
            return await self._as(token).lifecycle.duplicate(
                from_id,
                to_id,
                private=private,
                visibility=visibility,
                hardware=space_hardware,
                sleep_time=space_sleep_time,
                secrets=opened(space_secrets),
                variables=space_variables,
                volumes=list(space_volumes or ()) or None,
                resource_group_id=resource_group_id,
            )
        except ConflictError as error:
            there = existing(error, to_id) if exist_ok else None
            if there is None:
                raise
            return there

    async def duplicate_space(
        self,
        from_id: str,
        to_id: str | None = None,
        *,
        private: bool | None = None,
        token: Auth = None,
        exist_ok: bool = False,
        hardware: SpaceHardware | str | None = None,
        storage: SpaceStorage | str | None = None,
        sleep_time: int | None = None,
        secrets: Entries = None,
        variables: Entries = None,
    ) -> CreatedSpace:
        """Send `POST /api/spaces/{from_id}/duplicate`; as `duplicate_repo`, of 1.x."""
        try:
            return await self._as(token).lifecycle.duplicate(
                from_id,
                to_id,
                private=private,
                hardware=hardware,
                storage=storage,
                sleep_time=sleep_time,
                secrets=opened(secrets),
                variables=variables,
            )
        except ConflictError as error:
            there = existing(error, to_id) if exist_ok else None
            if there is None:
                raise
            return there


def spaces_only(method: str, repo_type: object) -> None:
    """Refuse what is not about Spaces."""
    if repo_type != "space":
        raise ConfigurationError(
            f"AsyncHfApi is about Spaces only: {method} needs repo_type='space', not"
            f" {repo_type!r} (HfApi takes None for a model)"
        )


def _template(there: list[SpaceTemplate], wanted: str) -> SpaceTemplate:
    name = _validate.text(wanted, "space_template").lower()
    for template in there:
        if template.repo_id == wanted or (template.name or "").lower() == name:
            return template
    names = ", ".join(sorted(template.name or template.repo_id for template in there))
    raise ConfigurationError(f"there is no Space template {wanted!r}; known: {names}")
