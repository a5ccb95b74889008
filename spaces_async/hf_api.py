"""`AsyncHfApi`: the official client's methods for Spaces, awaited.

A table over the resources of `SpacesClient`: the names, parameters and defaults of
`huggingface_hub.HfApi` (2.x; the storage methods and `duplicate_space` as in 1.x), the
connections, retries, quota, records and errors of this package.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, TypeVar, cast

from spaces_async._hints import missing_in_official_face
from spaces_async._redacted import Redacted
from spaces_async.client import SpacesClient, session_of
from spaces_async.errors import ConfigurationError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import aiohttp

    from spaces_async._clock import Clock
    from spaces_async._operations.writes import Entries
    from spaces_async.models import (
        CreatedSpace,
        SpaceHardware,
        SpaceInfo,
        SpaceRuntime,
        SpaceSecret,
        SpaceStorage,
        SpaceVariable,
        Volume,
    )
    from spaces_async.records import (
        Account,
        HardwareFlavor,
        SpaceSearchResult,
        SpaceTemplate,
        ZeroGpuQuota,
    )
    from spaces_async.settings import ClientSettings

__all__ = ["AsyncHfApi"]

T = TypeVar("T")
Words = str | Iterable[str] | None
Auth = str | bool | None
"""Who makes a call: a token, False (anonymous), None or True (as the client does)."""

_HIDDEN: Final = frozenset({"token", "value", "secrets", "space_secrets"})


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


@boxing
class AsyncHfApi:
    """`HfApi` for Spaces: the same methods, awaited.

    ```python
    async with AsyncHfApi(token="hf_...") as api:
        await api.restart_space("acme/demo")
        async for space in api.list_spaces(author="acme"):
            print(space.id)
    ```

    `list_spaces`, `search_spaces` and `fetch_space_logs` are async iterators, all else
    is awaited. Arguments are checked first: what cannot work is a `ConfigurationError`
    (a `ValueError`, as there) and is not sent. Where the two differ, the method says.

    | `HfApi` raises | here |
    | --- | --- |
    | `HfHubHTTPError` | `HubResponseError`, by status: `AuthenticationError` 401, |
    | | `PaymentRequiredError` 402, `PermissionDeniedError` 403, `ConflictError` 409, |
    | | `RateLimitError` 429, `HubServerError` 5xx |
    | `RepositoryNotFoundError` | `SpaceNotFoundError`; 401: `AuthenticationError` |
    | `RevisionNotFoundError` | `NotFoundError` |
    | `GatedRepoError`, `DisabledRepoError` | `PermissionDeniedError` |
    | `BadRequestError` | `BadRequestError`; a flavor: `InvalidHardwareError` |
    | `LocalTokenNotFoundError`, `HFValidationError`, `ValueError` | |
    | | `ConfigurationError` (a `ValueError`) |
    | `OfflineModeIsEnabled` | `ConfigurationError` |
    | `TimeoutError` of `wait_for_space` | `WaitTimeoutError` (a `TimeoutError`) |
    | `httpx2.TimeoutException` | `RequestTimeoutError` (a `TimeoutError`) |
    | `httpx2.HTTPError` | `TransportError`; of a stream `StreamInterruptedError` |

    What is returned differs in these points:

    | `HfApi` | here |
    | --- | --- |
    | an iterator of `SpaceInfo` | an async iterator of this package's `SpaceInfo` |
    | `info.siblings[0].rfilename` | works; each sibling is a string, the file's name |
    | `info.card_data`, a `SpaceCardData` | `info.card_data`, a mapping |
    | `runtime.stage == "RUNNING"` | works; stages and flavors are string enumerations |
    | `whoami()["name"]`, a dict | works; an `Account`, with `.name` and `.raw` |
    | `RepoUrl` of `create_repo` and `duplicate_repo`, a `str` | `CreatedSpace`; `str()` |
    | | of it is the URL, `.repo_id` the id |
    | `error.response.status_code`, `error.response.text` | work; also `error.status` |
    | `error.server_message`, `error.request_id` | work; also `error.message` |
    | `get_zero_gpu_quota().remaining` | `.current` |

    Attributes:
        client: The client beneath; closing the one closes the other.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        token: Auth = None,
        *,
        settings: ClientSettings | None = None,
        session: aiohttp.ClientSession | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make a client; the arguments are those of `SpacesClient`.

        Raises:
            ConfigurationError: Something of it cannot work.
        """
        boxed: Redacted[str | Literal[False] | None]
        boxed = Redacted(None if token is True else token)
        del token
        self.client = SpacesClient(
            token=boxed.reveal(),
            endpoint=endpoint,
            settings=settings,
            session=session,
            clock=clock,
        )

    @classmethod
    def of(cls, client: SpacesClient) -> Self:
        """Return an `AsyncHfApi` over a client that is there already."""
        api = object.__new__(cls)
        api.client = client
        return api

    @property
    def endpoint(self) -> str:
        """Where the calls go."""
        return self.client.endpoint

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    if not TYPE_CHECKING:  # for a type checker, a wrong name stays an error

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_") or name == "client":
                raise AttributeError(name)
            raise missing_in_official_face(name)

    def __repr__(self) -> str:
        return f"<AsyncHfApi of {getattr(self, 'client', None)!r}>"

    def _as(self, token: object) -> SpacesClient:
        """Return the client with the identity of this call."""
        boxed: Redacted[Any] = token if isinstance(token, Redacted) else Redacted(token)  # pyright: ignore[reportUnknownVariableType]
        del token
        if boxed.reveal() is None or boxed.reveal() is True:
            return self.client
        return self.client.with_token(boxed.reveal())

    # What there is ---------------------------------------------------------------

    def list_spaces(
        self,
        *,
        filter: Words = None,  # noqa: A002  (HfApi's own word)
        author: str | None = None,
        search: str | None = None,
        datasets: Words = None,
        models: Words = None,
        linked: bool = False,
        sort: str | None = None,
        limit: int | None = None,
        expand: Words = None,
        full: bool | None = None,
        token: Auth = None,
    ) -> AsyncIterator[SpaceInfo]:
        """Iterate over `GET /api/spaces` and its next pages; `Catalog.list_spaces`."""
        boxed = Redacted(token)
        del token
        return self._as(boxed).catalog.list_spaces(
            filter=filter,
            author=author,
            search=search,
            datasets=datasets,
            models=models,
            linked=linked,
            sort=sort,
            limit=limit,
            expand=expand or None,
            full=bool(full),
            page_size=None,
        )

    def search_spaces(
        self,
        query: str,
        *,
        filter: Words = None,  # noqa: A002  (HfApi's own word)
        sdk: Words = None,
        include_non_running: bool = False,
        token: Auth = None,
    ) -> AsyncGenerator[SpaceSearchResult, None]:
        """Iterate over `GET /api/spaces/semantic-search`; `Catalog.search_spaces`."""
        boxed = Redacted(token)
        del token
        catalog = self._as(boxed).catalog

        async def results() -> AsyncGenerator[SpaceSearchResult, None]:
            found = await catalog.search_spaces(
                query, filter=filter, sdk=sdk, include_non_running=include_non_running
            )
            for result in found:
                yield result

        return results()

    async def space_info(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (HfApi's own word)
        files_metadata: bool = False,
        expand: Words = None,
        token: Auth = None,
    ) -> SpaceInfo:
        """Read `GET /api/spaces/{repo_id}`, in `timeout` seconds; `Catalog.get_info`."""
        client = self._as(token)
        if timeout is not None:
            from attrs import evolve

            limits = session_of(client).options.timeouts
            client = client.with_options(timeouts=evolve(limits, total=timeout))
        return await client.catalog.get_info(
            repo_id,
            revision=revision,
            expand=expand or None,
            files_metadata=files_metadata,
        )

    async def list_spaces_hardware(self, token: Auth = None) -> list[HardwareFlavor]:
        """Read `GET /api/spaces/hardware`; `Hardware.list_flavors`."""
        return await self._as(token).hardware.list_flavors()

    async def list_space_templates(self, *, token: Auth = None) -> list[SpaceTemplate]:
        """Read `GET /api/spaces/templates`; `Catalog.list_templates`."""
        return await self._as(token).catalog.list_templates()

    async def get_zero_gpu_quota(self, *, token: Auth = None) -> ZeroGpuQuota:
        """Read `GET /api/spaces/zero-gpu/quota`; `current` is HfApi's `remaining`."""
        return await self._as(token).hardware.get_zero_gpu_quota()

    # What a Space does -----------------------------------------------------------

    async def get_space_runtime(
        self, repo_id: str, *, token: Auth = None
    ) -> SpaceRuntime:
        """Read `GET /api/spaces/{repo_id}/runtime`; `Lifecycle.get_runtime`."""
        return await self._as(token).lifecycle.get_runtime(repo_id)

    async def restart_space(
        self, repo_id: str, *, token: Auth = None, factory_reboot: bool = False
    ) -> SpaceRuntime:
        """Send `POST /api/spaces/{repo_id}/restart`; `Lifecycle.restart`."""
        lifecycle = self._as(token).lifecycle
        return await lifecycle.restart(repo_id, factory_reboot=factory_reboot)

    async def pause_space(self, repo_id: str, *, token: Auth = None) -> SpaceRuntime:
        """Send `POST /api/spaces/{repo_id}/pause`; `Lifecycle.pause`."""
        return await self._as(token).lifecycle.pause(repo_id)

    async def fetch_space_logs(
        self,
        repo_id: str,
        *,
        build: bool = False,
        follow: bool = False,
        token: Auth = None,
    ) -> AsyncGenerator[str, None]:
        """Iterate over `GET /api/spaces/{repo_id}/logs/{run|build}`, line by line.

        Lines come without their end; `Logs.stream_logs` has them with their time. Whoever
        leaves the loop early closes the iterator (`contextlib.aclosing`).
        """
        boxed = Redacted(token)
        del token
        logs = self._as(boxed).logs.stream_logs(
            repo_id, kind="build" if build else "run", follow=follow
        )
        async with logs as lines:
            async for line in lines:
                yield line.text

    # What it runs on -------------------------------------------------------------

    async def request_space_hardware(
        self,
        repo_id: str,
        hardware: SpaceHardware | str,
        *,
        token: Auth = None,
        sleep_time: int | None = None,
    ) -> SpaceRuntime:
        """Send `POST /api/spaces/{repo_id}/hardware`; `Hardware.request_hardware`."""
        resource = self._as(token).hardware
        return await resource.request_hardware(repo_id, hardware, sleep_time=sleep_time)

    async def set_space_sleep_time(
        self, repo_id: str, sleep_time: int, *, token: Auth = None
    ) -> SpaceRuntime:
        """Send `POST /api/spaces/{repo_id}/sleeptime`; `Hardware.set_sleep_time`."""
        return await self._as(token).hardware.set_sleep_time(repo_id, sleep_time)

    async def enable_space_dev_mode(
        self, repo_id: str, *, token: Auth = None
    ) -> SpaceRuntime:
        """Send `POST /api/spaces/{repo_id}/dev-mode`; `Config.set_dev_mode`."""
        return await self._as(token).config.set_dev_mode(repo_id, enabled=True)

    async def disable_space_dev_mode(
        self, repo_id: str, *, token: Auth = None
    ) -> SpaceRuntime:
        """Send `POST /api/spaces/{repo_id}/dev-mode`; `Config.set_dev_mode`."""
        return await self._as(token).config.set_dev_mode(repo_id, enabled=False)

    async def set_space_volumes(
        self, repo_id: str, volumes: Iterable[Volume | str], *, token: Auth = None
    ) -> None:
        """Send `PUT /api/spaces/{repo_id}/volumes`; `Storage.set_volumes`."""
        await self._as(token).storage.set_volumes(repo_id, volumes)

    async def delete_space_volumes(self, repo_id: str, *, token: Auth = None) -> None:
        """Send `DELETE /api/spaces/{repo_id}/volumes`; `Storage.delete_volumes`."""
        await self._as(token).storage.delete_volumes(repo_id)

    async def request_space_storage(
        self, repo_id: str, storage: SpaceStorage | str, *, token: Auth = None
    ) -> SpaceRuntime:
        """Send `POST /api/spaces/{repo_id}/storage`; `Storage.request_storage`."""
        return await self._as(token).storage.request_storage(repo_id, storage)

    async def delete_space_storage(
        self, repo_id: str, *, token: Auth = None
    ) -> SpaceRuntime:
        """Send `DELETE /api/spaces/{repo_id}/storage`; `Storage.delete_storage`."""
        return await self._as(token).storage.delete_storage(repo_id)

    # Variables and secrets -------------------------------------------------------

    async def get_space_variables(
        self, repo_id: str, *, token: Auth = None
    ) -> dict[str, SpaceVariable]:
        """Read `GET /api/spaces/{repo_id}/variables`; `Config.get_variables`."""
        return await self._as(token).config.get_variables(repo_id)

    async def delete_space_variable(
        self, repo_id: str, key: str, *, token: Auth = None
    ) -> dict[str, SpaceVariable]:
        """Send `DELETE /api/spaces/{repo_id}/variables`; `Config.delete_variable`."""
        return await self._as(token).config.delete_variable(repo_id, key)

    async def get_space_secrets(
        self, repo_id: str, *, token: Auth = None
    ) -> dict[str, SpaceSecret]:
        """Read `GET /api/spaces/{repo_id}/secrets`; `Config.get_secrets`."""
        return await self._as(token).config.get_secrets(repo_id)

    async def add_space_secret(
        self,
        repo_id: str,
        key: str,
        value: str,
        *,
        description: str | None = None,
        token: Auth = None,
    ) -> None:
        """Send `POST /api/spaces/{repo_id}/secrets`; `Config.add_secret`."""
        await self._as(token).config.add_secret(
            repo_id, key, opened(value), description=description
        )

    async def delete_space_secret(
        self, repo_id: str, key: str, *, token: Auth = None
    ) -> None:
        """Send `DELETE /api/spaces/{repo_id}/secrets`; `Config.delete_secret`."""
        await self._as(token).config.delete_secret(repo_id, key)

    # Repositories ----------------------------------------------------------------

    async def delete_repo(
        self,
        repo_id: str,
        *,
        token: Auth = None,
        repo_type: str | None = None,
        missing_ok: bool = False,
    ) -> None:
        """Send `DELETE /api/repos/delete`; `Lifecycle.delete`.

        `repo_id` is "owner/name"; HfApi takes a bare name for one's own.
        """
        spaces_only("delete_repo", repo_type)
        await self._as(token).lifecycle.delete(repo_id, missing_ok=missing_ok)

    async def move_repo(
        self,
        from_id: str,
        to_id: str,
        *,
        repo_type: str | None = None,
        token: Auth = None,
    ) -> None:
        """Send `POST /api/repos/move`; `Lifecycle.move`."""
        spaces_only("move_repo", repo_type)
        await self._as(token).lifecycle.move(from_id, to_id)

    # What takes more than one call of a resource ---------------------------------

    async def whoami(self, token: Auth = None, *, cache: bool = False) -> Account:
        """Read `GET /api/whoami-v2`; with `cache` once for each token.

        The dict that HfApi returns is `.raw` of the account.
        """
        from spaces_async._operations import requests

        client = self._as(token)
        session = session_of(client)
        if await session.ready() is None:
            raise ConfigurationError("whoami needs a token, and there is none")
        return await session.send(requests.whoami_call(remembered=cache))

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
        import asyncio

        from spaces_async import _validate
        from spaces_async.models import SpaceStage

        if _validate.seconds(poll_interval, "poll_interval") == 0:
            raise ConfigurationError("poll_interval must be above 0")
        lifecycle = self._as(token).lifecycle
        settled = {stage for stage in SpaceStage if not stage.is_transitional}
        unheard_of: list[SpaceRuntime] = []

        def on_stage(runtime: SpaceRuntime) -> None:
            if not runtime.stage.is_known:
                unheard_of.append(runtime)
                limit.reschedule(0)

        try:
            async with asyncio.timeout(None) as limit:
                return await lifecycle.wait_until(
                    repo_id, settled, timeout=timeout, on_stage=on_stage
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
        from spaces_async._operations import writes

        client, value = self._as(token), opened(value)
        write = writes.set_variable(key, value, description=description)
        return await session_of(client).send(write.to(repo_id))

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
        from spaces_async import _validate
        from spaces_async._operations import requests

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
        from spaces_async._operations import writes

        spaces_only("update_repo_settings", repo_type)
        write = writes.update_settings(
            gated=gated, private=private, visibility=visibility
        )
        await session_of(self._as(token)).send(write.to(repo_id))

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
            return _existing(error, to_id, exist_ok=exist_ok)

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
            return _existing(error, to_id, exist_ok=exist_ok)


def _existing(
    error: ConflictError, to_id: str | None, *, exist_ok: bool
) -> CreatedSpace:
    """Return the Space that was there already, or raise the error that says so."""
    from spaces_async.lifecycle import existing_space

    there = existing_space(error, to_id) if exist_ok else None
    if there is None:
        raise error
    return there


def spaces_only(method: str, repo_type: object) -> None:
    """Refuse what is not about Spaces."""
    if repo_type != "space":
        raise ConfigurationError(
            f"AsyncHfApi is about Spaces only: {method} needs repo_type='space', not"
            f" {repo_type!r} (HfApi takes None for a model)"
        )


def _template(there: list[SpaceTemplate], wanted: str) -> SpaceTemplate:
    from spaces_async import _validate

    name = _validate.text(wanted, "space_template").lower()
    for template in there:
        if template.repo_id == wanted or (template.name or "").lower() == name:
            return template
    names = ", ".join(sorted(template.name or template.repo_id for template in there))
    raise ConfigurationError(f"there is no Space template {wanted!r}; known: {names}")
