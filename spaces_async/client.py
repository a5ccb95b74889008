"""The client: connections, identity and options, with the resources on top."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final, Literal, NoReturn, Self

from spaces_async._hints import missing_in_client
from spaces_async._redacted import redact_token

if TYPE_CHECKING:
    from types import TracebackType

    import aiohttp

    from spaces_async._clock import Clock
    from spaces_async._core.session import HubSession
    from spaces_async.billing import Billing
    from spaces_async.bulk import Bulk
    from spaces_async.catalog import Catalog
    from spaces_async.config import Config
    from spaces_async.hardware import Hardware
    from spaces_async.lifecycle import Lifecycle
    from spaces_async.logs import Logs
    from spaces_async.records import RateLimit
    from spaces_async.settings import ClientSettings, RetryPolicy, Timeouts
    from spaces_async.storage import Storage

__all__ = ["SpacesClient"]

USED_BY_CALLS: Final[tuple[str, ...]] = (
    "tenacity",
    "spaces_async._core.session",
    "spaces_async.bulk._bulk",
    "spaces_async.catalog",
    "spaces_async.config",
    "spaces_async.hardware",
    "spaces_async.lifecycle",
    "spaces_async.logs",
    "spaces_async.storage",
)
"""What a client and its resources are made of. A call must not import it: that would
block the event loop."""


class SpacesClient:
    """An asyncio client for Hugging Face Spaces.

    ```python
    async with SpacesClient() as client:
        runtime = await client.lifecycle.restart("acme/demo")
    ```

    One client serves any number of tasks of one event loop: make it at start-up, close
    it at shutdown. It opens its connections with the first call, and belongs to the
    event loop of that call.
    """

    _imported_beforehand: ClassVar[tuple[str, ...]] = USED_BY_CALLS

    def __init__(
        self,
        *,
        token: str | Literal[False] | None = None,
        endpoint: str | None = None,
        settings: ClientSettings | None = None,
        session: aiohttp.ClientSession | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make a client. Nothing is opened or sent yet.

        The first client of a process imports what calls need, aiohttp above all. That
        takes some tenths of a second, so make it before the event loop serves others.

        Args:
            token: Who calls: a token, None to look it up (`HF_TOKEN` and its kin, then
                the token file of the official client), False to be anonymous.
            endpoint: Where the Hub is; None takes `HF_ENDPOINT`, else huggingface.co.
            settings: Time limits, retries, limits; None takes the defaults.
            session: An aiohttp session to use and leave open; None makes one.
            clock: What measures time; None is the event loop. For tests.

        Raises:
            ConfigurationError: Something of it cannot work.
        """
        boxed = redact_token(token)
        del token
        from spaces_async._core.session import HubSession

        for module in self._imported_beforehand:
            import_module(module)
        self._attach(
            HubSession.create(
                token=boxed,
                endpoint=endpoint,
                settings=settings,
                session=session,
                clock=clock,
            ),
            owner=True,
        )

    def _attach(self, session: HubSession, *, owner: bool) -> None:
        self._session = session
        self._owner = owner

    @cached_property
    def catalog(self) -> Catalog:
        """Which Spaces there are, and who you are."""
        from spaces_async.catalog import Catalog

        return Catalog(self._session)

    @cached_property
    def lifecycle(self) -> Lifecycle:
        """Runtime, restart, pause, wait, create, duplicate, move, delete."""
        from spaces_async.lifecycle import Lifecycle

        return Lifecycle(self._session)

    @cached_property
    def config(self) -> Config:
        """Variables, secrets, visibility, dev mode."""
        from spaces_async.config import Config

        return Config(self._session)

    @cached_property
    def hardware(self) -> Hardware:
        """Flavors and prices, sleep time, replicas, ZeroGPU quota."""
        from spaces_async.hardware import Hardware

        return Hardware(self._session)

    @cached_property
    def billing(self) -> Billing:
        """What Spaces have cost, and what they cost for an hour."""
        from spaces_async.billing import Billing

        return Billing(self._session)

    @cached_property
    def storage(self) -> Storage:
        """Volumes, legacy persistent storage."""
        from spaces_async.storage import Storage

        return Storage(self._session)

    @cached_property
    def logs(self) -> Logs:
        """Streams of logs, events, metrics."""
        from spaces_async.logs import Logs

        return Logs(self._session)

    @cached_property
    def bulk(self) -> Bulk:
        """The same for many Spaces at once."""
        from spaces_async.bulk._bulk import Bulk

        return Bulk(self._session, self._view)

    def _view(self, session: HubSession) -> Self:
        view = object.__new__(type(self))
        view._attach(session, owner=False)
        return view

    def with_token(self, token: str | Literal[False]) -> Self:
        """Return a view with another identity: same connections, own quota.

        Cheap: make one per request of a web backend. Closing it closes nothing.

        Args:
            token: A token, or False to be anonymous.

        Raises:
            ConfigurationError: The token is malformed, or would go unencrypted to
                another machine.
        """
        boxed = redact_token(token)
        del token
        return self._view(self._session.with_token(boxed))

    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """Return a view with other options: same connections, identity and quota.

        Args:
            timeouts: Time limits; None keeps what there is.
            retry: When to try again; None keeps what there is.
        """
        return self._view(self._session.with_options(timeouts=timeouts, retry=retry))

    @property
    def clock(self) -> Clock:
        """The clock that measures time."""
        return self._session.clock

    @property
    def endpoint(self) -> str:
        """Where the calls go."""
        return str(self._session.endpoint)

    def rate_limit(self) -> RateLimit:
        """Return what is left of the token's quota, as far as it is known.

        Nothing is sent: each response of the Hub says it. Of other programs that use
        the token it knows what the Hub said last.
        """
        return self._session.rate_limit()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._session.closed

    async def aclose(self) -> None:
        """Close the connections, from any event loop.

        On a view, and the second time, it does nothing.
        """
        if self._owner:
            await self._session.aclose()

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
            if name.startswith("_"):
                raise AttributeError(name)
            raise missing_in_client(name)

    def __repr__(self) -> str:
        if getattr(self, "_session", None) is None:
            # A traceback that shows locals meets a client whose settings were refused.
            return "<SpacesClient unmade>"
        return f"<SpacesClient {self.endpoint}{' closed' if self.closed else ''}>"


def background_view(
    client: SpacesClient, *, max_rate_limit_wait: float | None
) -> SpacesClient:
    """Return a view for bulk work; see `HubSession.in_background`."""
    session = client._session.in_background(max_rate_limit_wait=max_rate_limit_wait)  # noqa: SLF001  (of this module)  # pyright: ignore[reportPrivateUsage]
    return client._view(session)  # noqa: SLF001  (of this module)  # pyright: ignore[reportPrivateUsage]


def session_of(client: SpacesClient) -> HubSession:
    """Return the session of a client, for the few calls that no resource has."""
    return client._session  # noqa: SLF001  (of this module)  # pyright: ignore[reportPrivateUsage]
