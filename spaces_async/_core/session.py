"""The session, through which all resource modules send their calls.

A `HubSession` is a view: an identity and options on top of the connections and quotas
that all views of one client share. It costs nothing to make one.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast
from urllib.parse import quote

from attrs import evolve

from spaces_async._clock import Clock
from spaces_async._core.auth import (
    Credentials,
    Environment,
    make_endpoint,
    make_token,
    require_private_channel,
)
from spaces_async._core.connections import Places
from spaces_async._core.execution import CallExecution, Received, shown
from spaces_async._core.pages import MAX_IDLE_PAGES, Progress
from spaces_async._core.shared import Options, Shared
from spaces_async._quota.ledgers import make_ledger
from spaces_async._wire import responses, urls
from spaces_async._wire.transport import Transport
from spaces_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    UnexpectedResponseError,
)
from spaces_async.records import RateLimit
from spaces_async.settings import ClientSettings, RetryPolicy, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp
    from yarl import URL

    from spaces_async._redacted import Redacted, Token, TokenArgument
    from spaces_async._wire.calls import Call
    from spaces_async._wire.messages import Response
    from spaces_async.observe.events import Observer

__all__ = ["HubSession"]

T = TypeVar("T")

_is_plain: Final = re.compile(r"[A-Za-z0-9_.~-]+").fullmatch
"""Whether a segment is the same when it is quoted."""


# Cached: who looks at a Space looks again, and aiohttp finds the parts of a URL that it
# has met already at once.
@functools.lru_cache(maxsize=512)
def _url(
    endpoint: URL, segments: tuple[str, ...], query: tuple[tuple[str, str], ...]
) -> URL:
    path = "/".join([s if _is_plain(s) else quote(s, safe="") for s in segments])
    start = endpoint.raw_path.rstrip("/")
    url = endpoint.with_path(f"{start}/api/{path}", encoded=True)
    return url.with_query(query) if query else url


_REPLAY_SILENCE_SECONDS: Final = 1.0
_APP_SECONDS: Final = 10.0
_MAX_REPLAY_BYTES: Final = 64 * 1024


class HubSession:
    """Sends calls with one identity and one set of options."""

    __slots__ = ("_credentials", "_options", "_shared")

    _execution: ClassVar[type[CallExecution[Any]]] = CallExecution

    def __init__(
        self, shared: Shared, credentials: Credentials, options: Options
    ) -> None:
        self._shared = shared
        self._credentials = credentials
        self._options = options

    @classmethod
    def create(
        cls,
        *,
        token: TokenArgument,
        endpoint: str | None,
        settings: ClientSettings | None,
        session: aiohttp.ClientSession | None,
        clock: Clock | None = None,
        environment: Environment | None = None,
    ) -> HubSession:
        """Make the session of a new client. Nothing is opened or sent yet.

        Raises:
            ConfigurationError: An argument or a variable of the environment is invalid.
        """
        environment = environment or Environment.read(os.environ)
        settings = settings or ClientSettings()
        clock = clock or Clock()
        url = make_endpoint(endpoint, environment)
        credentials = Credentials.find(token, environment)
        rng = random.Random()  # noqa: S311  (spreads load, no secret)
        shared = Shared(
            endpoint=url,
            settings=settings,
            clock=clock,
            transport=Transport(url.origin(), settings, clock, session),
            offline=environment.offline,
            rng=rng,
            places=Places(settings.max_connections, reserve=settings.reserve),
            ledger=make_ledger(settings.ledger, clock, rng),
        )
        options = Options(
            settings.timeouts, settings.retry, late_looks=settings.retry.verify
        )
        if settings.observer:
            cls = _observe(shared, settings.observer)  # noqa: PLW0642  (a subclass)
        made = cls(shared, credentials, options)
        made._require_private_channel(credentials.known)
        return made

    @property
    def endpoint(self) -> URL:
        """Where the calls go."""
        return self._shared.endpoint

    @property
    def shared(self) -> Shared:
        """What all views of the client share."""
        return self._shared

    @property
    def clock(self) -> Clock:
        """The clock that measures all waits."""
        return self._shared.clock

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._shared.transport.closed

    @property
    def options(self) -> Options:
        """The options of this view."""
        return self._options

    async def aclose(self) -> None:
        """Close the connections, for all views. Works from any event loop."""
        own = self._shared.loop
        if own is None or own is asyncio.get_running_loop():
            await self._close()
        elif own.is_running():
            # In another thread: what belongs to that loop is closed there.
            closing = asyncio.run_coroutine_threadsafe(self._close(), own)
            await asyncio.wrap_future(closing)
        else:
            self._shared.transport.abandon()
            # Nothing can still wait for the quota.
            if self._shared.ledger is not None:
                await self._shared.ledger.abandon()

    async def _close(self) -> None:
        try:
            await self._shared.transport.aclose()
        finally:  # also if it is cancelled
            for account in self._shared.accounts.values():
                account.governor.close()
            if self._shared.ledger is not None:
                await self._shared.ledger.aclose()

    def with_token(self, token: TokenArgument) -> HubSession:
        """Return a view with another identity and its own quota."""
        if token is None:
            raise ConfigurationError("with_token needs a token; False is anonymous")
        boxed = None if token is False else make_token(token, source="token")
        self._require_private_channel(boxed)
        return type(self)(self._shared, Credentials(boxed), self._options)

    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        background: bool | None = None,
    ) -> HubSession:
        """Return a view with other options; None keeps the present one."""
        now = self._options
        options = Options(
            timeouts or now.timeouts,
            retry or now.retry,
            now.background if background is None else background,
            now.late_looks if retry is None else retry.verify,
        )
        return type(self)(self._shared, self._credentials, options)

    def until(self, deadline: float | None) -> HubSession:
        """Return a view whose calls end at an instant of the clock, or earlier."""
        if deadline is None:
            return self
        timeouts = self._options.timeouts
        left = max(0.001, deadline - self.clock.monotonic())
        total = left if timeouts.total is None else min(left, timeouts.total)
        return self.with_options(timeouts=evolve(timeouts, total=total))

    def url(
        self, segments: tuple[str, ...], query: tuple[tuple[str, str], ...] = ()
    ) -> URL:
        """Build the URL of a path below `/api`; each segment stays one segment."""
        return _url(self._shared.endpoint, segments, query)

    async def send(self, call: Call[T]) -> T:
        """Send a call and return its result.

        Raises:
            SpacesError: It failed; see `spaces_async.errors`.
        """
        if call.remembered:
            return await self._remember(call)
        if call.replays:
            return await self._replay(call)
        url = _url(self._shared.endpoint, call.segments, call.query)
        return (await self._run(call, url)).value

    async def wrote_a_moment_ago(self, repo_id: str, stamp: str) -> bool:
        """Return whether the same key was written just before; see `Call.stamp`."""
        account = self._shared.account(await self.ready())
        return account.wrote_a_moment_ago(repo_id, stamp, self.clock.monotonic())

    def in_background(self, *, max_rate_limit_wait: float | None) -> HubSession:
        """Return a view for bulk work.

        Its calls do not use the reserve of the quota, and their time does not run
        while they wait for the quota.

        Args:
            max_rate_limit_wait: Longest wait in seconds for the quota; None has no
                limit.
        """
        retry = evolve(self._options.retry, max_rate_limit_wait=max_rate_limit_wait)
        return self.with_options(retry=retry, background=True)

    def without_retries(self) -> HubSession:
        """Return a view that sends each call once, and waits for the quota as before."""
        now = self._options
        longest = now.retry.max_rate_limit_wait
        once = evolve(now, retry=RetryPolicy.off(max_rate_limit_wait=longest))
        return type(self)(self._shared, self._credentials, once)

    async def require_usable(self) -> None:
        """Check that calls can be made. Nothing is sent.

        Raises:
            ClientClosedError: The client is closed.
            ConfigurationError: The environment forbids calls (`HF_HUB_OFFLINE`), the
                token file holds no token that can be sent, or the ledger cannot be
                used.
        """
        # The account opens the ledger.
        self._shared.account(await self.ready())

    async def has_token(self) -> bool:
        """Return whether calls are made with a token. Nothing is sent."""
        return await self._credentials.resolve() is not None

    def rate_limit(self) -> RateLimit:
        """Return what is known of the token's quota. Nothing is sent."""
        account = self._shared.accounts.get(self._credentials.known)
        return RateLimit() if account is None else account.governor.rate_limit()

    async def ask_app(
        self, subdomain: str | None, path: str, *, key: Redacted[str] | None
    ) -> int | str:
        """Ask the app of a Space. The token never goes there.

        Args:
            subdomain: The Space's; None if the Hub does not say.
            path: A path of the app.
            key: Opens the app of a Space that is not public; None for a public one.

        Returns:
            The status of its answer, or why there is none.
        """
        url = urls.app_url(self._shared.settings.app_url, subdomain, path, key)
        if url is None:
            return "the Hub does not say where it is"
        return await self._shared.transport.ask(url, seconds=_APP_SECONDS)

    def app_host(self, subdomain: str | None) -> str | None:
        """Return where the app of a Space is asked, for people: without a path."""
        url = urls.app_url(self._shared.settings.app_url, subdomain, "/", None)
        return None if url is None else str(url.origin())

    async def open_stream(self, call: Call[None]) -> Response:
        """Send a call and return its response, whose body has not been read.

        The caller reads `Response.stream` and has to close it.

        Raises:
            SpacesError: It failed; see `spaces_async.errors`.
        """
        url = self.url(call.segments, call.query)
        received = await self._run(call, url, stream=True)
        assert received.response is not None  # noqa: S101  (only a write has none)
        return received.response

    async def _replay(self, call: Call[T]) -> T:
        """Open a stream and decode what it sends before it falls silent."""
        response = await self.open_stream(cast("Call[None]", call))
        stream, body = response.stream, b""
        assert stream is not None  # noqa: S101  (it is the response of a stream)
        try:
            while len(body) < _MAX_REPLAY_BYTES:
                chunk = await stream.read(_REPLAY_SILENCE_SECONDS)
                if not isinstance(chunk, bytes):
                    break
                body += chunk
        finally:
            stream.close()
        return call.decode(body)

    async def pages(self, call: Call[list[T]]) -> AsyncGenerator[list[T], None]:
        """Send a call and yield its pages, following `Link: …; rel="next"`.

        No connection is held while the caller uses a page. Each page is a call with
        time limits of its own. The next page is read at the endpoint, whatever host
        the link names: the token must not go elsewhere.

        Raises:
            SpacesError: A page failed; see `spaces_async.errors`.
            UnexpectedResponseError: The listing has no end, or its next page is no
                page of it.
        """
        url = self.url(call.segments, call.query)
        progress = Progress(url)
        while True:
            received = await self._run(call, url)
            yield received.value
            response = received.response
            if response is None or response.next_url is None:
                return
            if not progress.note(received.value):
                raise self._bad_page(
                    call, f"follows {MAX_IDLE_PAGES} pages that had nothing new"
                )
            following = urls.next_page(url, response.next_url, call.segments)
            if following is None:
                raise self._bad_page(call, "is at another place; it was not followed")
            if not progress.follow(following):
                raise self._bad_page(call, "is one that was read before")
            url = following

    def _bad_page(self, call: Call[list[T]], what: str) -> UnexpectedResponseError:
        return UnexpectedResponseError(
            f"the next page of the listing {what}",
            method=call.action.method,
            url=shown(self.url(call.segments)),
            attempts=1,
        )

    async def _remember(self, call: Call[T]) -> T:
        """Send a call once and keep its result, until the account is dropped as idle."""
        account = self._shared.account(await self.ready())
        name = call.action.name
        async with account.asking:
            if name not in account.memory:
                account.memory[name] = await self.send(evolve(call, remembered=False))
            return cast("T", account.memory[name])

    async def ready(self) -> Token | None:
        """Check that calls can be made, and return the token; None is anonymous.

        Raises:
            ClientClosedError: The client is closed.
            ConfigurationError: The environment forbids calls, the token file holds no
                token that can be sent, or the event loop is not the client's.
        """
        shared = self._shared
        if shared.transport.closed:
            raise ClientClosedError
        shared.require_own_loop()
        if shared.offline:
            raise ConfigurationError(
                "HF_HUB_OFFLINE is set, so no call is made; unset it to go online"
            )
        token = self._credentials.known
        if token is None:
            # A token that was passed in has been checked before.
            token = await self._credentials.resolve()
            self._require_private_channel(token)
        return token

    async def _run(
        self, call: Call[T], url: URL, *, stream: bool = False
    ) -> Received[T]:
        """Make a call, with a new token of the token file if the old one is refused."""
        shared, options = self._shared, self._options
        token = await self.ready()
        try:
            return await self._execution(
                shared, options, token, call, url, self.send, stream=stream
            ).run()
        except AuthenticationError as error:
            refused = error
        fresh = None
        if token is not None:
            fresh = await self._credentials.resolve_again(token)
        if fresh is not None:
            # A request that was refused for its token did nothing, not even a write.
            self._require_private_channel(fresh)
            try:
                return await self._execution(
                    shared, options, fresh, call, url, self.send, stream=stream
                ).run()
            except AuthenticationError as error:
                refused = error
        advice = self._credentials.advice()
        if advice:
            responses.reword(refused, f"{refused.message}; {advice}")
        # Outside the handler, so that no context is chained.
        raise refused

    def _require_private_channel(self, token: Token | None) -> None:
        if token is not None:
            allow = self._shared.settings.allow_insecure_http
            require_private_channel(self.endpoint, allow_insecure_http=allow)


def _observe(shared: Shared, observers: tuple[Observer, ...]) -> type[HubSession]:
    """Let observers be told of all calls; return the class of the client's session."""
    # Only a client with an observer loads this.
    from spaces_async._core.observation import Observation
    from spaces_async._core.observed import ObservedSession

    shared.observation = observation = Observation(observers)
    shared.on_wait = observation.quota_wait
    return ObservedSession
