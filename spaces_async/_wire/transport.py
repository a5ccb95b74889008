"""One HTTP exchange: bytes out, a whole answer in. The only door to aiohttp.

It sends once, follows nothing, decides nothing. What goes wrong comes back as a value
(`Lost`), because the frames of aiohttp's exceptions hold the token and the body: no
such exception, and no traceback through aiohttp, leaves this module.
"""

from __future__ import annotations

import asyncio
import io
import platform
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from aiohttp import hdrs
from attrs import define, evolve

from spaces_async._version import __version__
from spaces_async._wire.calls import Answer, Lost, LostPhase
from spaces_async._wire.proxies import find_proxy
from spaces_async._wire.transport_errors import (
    DroppedError,
    classify_exception,
    reason_of,
)
from spaces_async.errors import ClientClosedError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import SimpleNamespace

    from yarl import URL

    from spaces_async._redacted import Redacted, Token
    from spaces_async.settings import ClientSettings, Timeouts

T = TypeVar("T")

USER_AGENT: Final = (
    f"spaces-async/{__version__} python/{platform.python_version()}"
    f" aiohttp/{aiohttp.__version__}"
)
_LARGE_BODY: Final = 512 * 1024


@define
class Progress:
    """How far an exchange has come.

    Attributes:
        sent: Whether any of the request may have gone out.
        status: Status of the answer, once its head has come.
    """

    sent: bool = False
    status: int | None = None


class _Connector(aiohttp.TCPConnector):
    """Hands out no idle connection on which something came unasked.

    aiohttp would take it for the answer to the next request.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  (aiohttp's own signature)
    ) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.should_close:
                return connection
            connection.close()


class _Guard:
    """A client middleware around one exchange: the last word on what is sent.

    A borrowed session may bring cookies and an Authorization of its own; neither may
    be mixed with ours.
    """

    __slots__ = ("_token",)

    def __init__(self, token: Token | None) -> None:
        self._token = token

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.popall(hdrs.COOKIE, None)
        request.headers.popall(hdrs.AUTHORIZATION, None)
        if self._token is not None:
            request.headers[hdrs.AUTHORIZATION] = f"Bearer {self._token.reveal()}"
        try:
            return await handler(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise DroppedError(reason_of(error)) from None


async def _on_headers_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: Any
) -> None:
    progress: Progress | None = context.trace_request_ctx
    if progress is not None:
        progress.sent = True


class StreamReader:
    """An answer that is read as it comes, and holds its connection until it is closed.

    Attributes:
        answer: Its head.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, answer: Answer, timeouts: Timeouts
    ) -> None:
        self._response = response
        self._timeouts = timeouts
        self.answer = answer

    async def read(self, silence: float) -> bytes | Lost | None:
        """Return the next bytes, None at the end, or how the stream was lost.

        Args:
            silence: Seconds without a byte after which it counts as lost.
        """
        try:
            return await _next_chunk(self._response, silence) or None
        except asyncio.CancelledError as error:
            raise error.with_traceback(None) from None
        except Exception as error:  # noqa: BLE001  (see the module's docstring)
            return classify_exception(
                error, evolve(self._timeouts, read=silence), sent=True
            )

    def close(self) -> None:
        """Close it. A stream has no end to wait for: its connection goes with it."""
        self._response.close()


class Transport:
    """The connections of a client. Made anywhere; opened inside the event loop."""

    def __init__(
        self,
        origin: URL,
        settings: ClientSettings,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self._origin = origin
        self._settings = settings
        self._borrowed = session is not None
        self._session = session
        self._closed = False
        self._proxy = find_proxy(origin) if settings.trust_env else None
        agent = settings.user_agent
        self._user_agent = f"{agent} {USER_AGENT}" if agent else USER_AGENT
        self._client_timeouts: dict[Timeouts, aiohttp.ClientTimeout] = {}

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed

    async def aclose(self) -> None:
        """Close the connections; a borrowed session stays open."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None and not self._borrowed:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosedError
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_on_headers_sent)
            self._session = aiohttp.ClientSession(
                # HubSession limits what is under way: waiting for a place here would
                # count against the time to connect.
                connector=_Connector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
            )
        elif self._session.closed:
            raise ClientClosedError("the session that the client borrowed is closed")
        return self._session

    def _headers(
        self, session: aiohttp.ClientSession, token: Token | None, request_id: str
    ) -> dict[str, str]:
        headers = {hdrs.USER_AGENT: self._user_agent, "X-Request-Id": request_id}
        # With credentials of its own or `.netrc`, aiohttp refuses a header of ours:
        # then the guard alone sets it.
        if token is not None and session.auth is None and not session.trust_env:
            headers[hdrs.AUTHORIZATION] = f"Bearer {token.reveal()}"
        return headers

    def _client_timeout(self, timeouts: Timeouts) -> aiohttp.ClientTimeout:
        made = self._client_timeouts.get(timeouts)
        if made is None:
            made = aiohttp.ClientTimeout(
                total=None,
                # Bounds the look-up of the name, too; but where a session is borrowed
                # it would also bound the wait for a place among its connections.
                connect=None if self._borrowed else timeouts.connect,
                sock_connect=timeouts.connect,
                sock_read=timeouts.read,
            )
            self._client_timeouts[timeouts] = made
        return made

    async def exchange(
        self,
        method: str,
        url: URL,
        *,
        token: Token | None,
        body: Redacted[bytes] | None,
        request_id: str,
        timeouts: Timeouts,
        limit: float | None,
        phase: LostPhase,
        progress: Progress,
    ) -> Answer | Lost:
        """Send one request and read its answer.

        Args:
            method: HTTP method.
            url: Where to; the token goes along only to the endpoint's origin.
            token: Who calls; None is anonymous.
            body: JSON.
            request_id: Sent as `X-Request-Id`.
            timeouts: Limits to connect and between bytes.
            limit: Seconds for the whole exchange; None is no limit.
            phase: What to call it when `limit` is reached.
            progress: Told how far the exchange has come.

        Raises:
            ClientClosedError: The client, or the session that it borrowed, is closed.
        """
        session = self._open()
        if url.origin() != self._origin:
            token = None
        # A borrowed session has no tracing of ours: assume that it sends at once.
        progress.sent = self._borrowed
        work = self._guarded(
            session,
            method,
            url,
            token=token,
            body=body,
            request_id=request_id,
            timeouts=timeouts,
            progress=progress,
        )
        done = await _bounded(work, limit, phase, progress, what="whole answer")
        if isinstance(done, Lost):
            return _with_context(done, progress, request_id)
        return done

    async def open_stream(
        self,
        url: URL,
        *,
        token: Token | None,
        request_id: str,
        timeouts: Timeouts,
        limit: float | None,
        phase: LostPhase,
        progress: Progress,
    ) -> StreamReader | Answer | Lost:
        """Open a stream of server-sent events.

        Args:
            url: Where to; the token goes along only to the endpoint's origin.
            token: Who calls; None is anonymous.
            request_id: Sent as `X-Request-Id`.
            timeouts: Limits to connect and between bytes, up to the head.
            limit: Seconds until the head is there; None is no limit.
            phase: What to call it when `limit` is reached.
            progress: Told how far it has come.

        Returns:
            What reads the stream, to be closed by who gets it; the whole answer where
            it is no 200; or how it was lost.

        Raises:
            ClientClosedError: The client, or the session that it borrowed, is closed.
        """
        session = self._open()
        if url.origin() != self._origin:
            token = None
        progress.sent = self._borrowed
        if timeouts.read is not None and (limit is None or timeouts.read < limit):
            limit, phase = timeouts.read, "read"
        work = self._begin(
            session,
            url,
            token=token,
            request_id=request_id,
            timeouts=timeouts,
            progress=progress,
        )
        opened = await _bounded(work, limit, phase, progress, what="answer")
        if isinstance(opened, Lost):
            return _with_context(opened, progress, request_id)
        return opened

    async def _begin(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        *,
        token: Token | None,
        request_id: str,
        timeouts: Timeouts,
        progress: Progress,
    ) -> StreamReader | Answer | Lost:
        response: aiohttp.ClientResponse | None = None
        reader: StreamReader | None = None
        try:
            response = await session.get(
                url,
                headers=self._headers(session, token, request_id)
                | {hdrs.ACCEPT: "text/event-stream"},
                # How long a stream may be silent is for its reader to say.
                timeout=self._client_timeout(evolve(timeouts, read=None)),
                allow_redirects=False,
                raise_for_status=False,
                proxy=self._proxy,
                middlewares=(_Guard(token),),
                trace_request_ctx=progress,
            )
            progress.sent = True
            progress.status = response.status
            if response.status == HTTPStatus.OK:
                answer = _answer(response, b"", request_id)
                reader = StreamReader(response, answer, timeouts)
                return reader
            return await self._read(response, request_id, timeouts)
        except Exception as error:  # noqa: BLE001  (see the module's docstring)
            return classify_exception(error, timeouts, sent=progress.sent)
        finally:
            if response is not None and reader is None:
                response.close()

    async def _guarded(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        *,
        token: Token | None,
        body: Redacted[bytes] | None,
        request_id: str,
        timeouts: Timeouts,
        progress: Progress,
    ) -> Answer | Lost:
        try:
            async with session.request(
                method,
                url,
                data=_payload(body),
                headers=self._headers(session, token, request_id)
                | ({hdrs.CONTENT_TYPE: "application/json"} if body else {}),
                timeout=self._client_timeout(timeouts),
                allow_redirects=False,
                raise_for_status=False,
                proxy=self._proxy,
                middlewares=(_Guard(token),),
                trace_request_ctx=progress,
            ) as response:
                progress.sent = True
                progress.status = response.status
                return await self._read(response, request_id, timeouts)
        except Exception as error:  # noqa: BLE001  (see the module's docstring)
            return classify_exception(error, timeouts, sent=progress.sent)

    async def _read(
        self, response: aiohttp.ClientResponse, request_id: str, timeouts: Timeouts
    ) -> Answer | Lost:
        cap = self._settings.max_response_bytes
        chunks: list[bytes] = []
        size = 0
        while chunk := await _next_chunk(response, timeouts.read):
            size += len(chunk)
            if size > cap:
                response.close()
                reason = f"the answer is larger than max_response_bytes ({cap} bytes)"
                return Lost(reason, sent=True, too_large=True)
            chunks.append(chunk)
        return _answer(response, b"".join(chunks), request_id)


async def _bounded(
    work: Coroutine[Any, Any, T],
    limit: float | None,
    phase: LostPhase,
    progress: Progress,
    *,
    what: str,
) -> T | Lost:
    """Do it within so many seconds; no frame below is left on what is raised."""
    try:
        async with asyncio.timeout(limit):
            return await work
    except TimeoutError:
        reason = f"no {what} within {limit:.3g} s"
        return Lost(reason, sent=progress.sent, phase=phase)
    except asyncio.CancelledError as error:
        # The frames below hold the token and the body.
        raise error.with_traceback(None) from None


def _payload(body: Redacted[bytes] | None) -> bytes | io.BytesIO | None:
    if body is None:
        return None
    # aiohttp warns of large bytes, which it would write in one go.
    large = len(body.reveal()) > _LARGE_BODY
    return io.BytesIO(body.reveal()) if large else body.reveal()


async def _next_chunk(response: aiohttp.ClientResponse, silence: float | None) -> bytes:
    """Return what has come of the body, b"" at its end.

    aiohttp's own limit on silence is not enough: where a later part of a body is
    malformed, it stops the clock and never wakes the reader.
    """
    content = response.content
    if content.is_eof():
        return await content.readany()
    try:
        async with asyncio.timeout(silence):
            return await content.readany()
    except TimeoutError:
        response.close()
        raise aiohttp.SocketTimeoutError from None


def _joined(response: aiohttp.ClientResponse, name: str) -> str | None:
    values = response.headers.getall(name, None)
    return ", ".join(values) if values else None


def _answer(response: aiohttp.ClientResponse, body: bytes, request_id: str) -> Answer:
    headers = response.headers
    return Answer(
        status=response.status,
        body=body,
        request_id=headers.get("X-Request-Id", request_id),
        code=headers.get("X-Error-Code"),
        error_message=headers.get("X-Error-Message"),
        rate_limit=_joined(response, "RateLimit"),
        rate_limit_policy=_joined(response, "RateLimit-Policy"),
        retry_after=headers.get(hdrs.RETRY_AFTER),
        date=headers.get(hdrs.DATE),
        location=headers.get(hdrs.LOCATION),
        next_url=_next_url(response),
    )


def _next_url(response: aiohttp.ClientResponse) -> str | None:
    if hdrs.LINK not in response.headers:
        return None
    try:
        following = response.links.get("next")
    except ValueError:
        # No URL; whoever follows it finds out, whoever does not is not bothered.
        return response.headers[hdrs.LINK]
    target = following.get("url") if following else None
    return None if target is None else str(target)


def _with_context(lost: Lost, progress: Progress, request_id: str) -> Lost:
    return Lost(
        lost.reason,
        sent=lost.sent,
        permanent=lost.permanent,
        phase=lost.phase,
        status=progress.status,
        too_large=lost.too_large,
        undecodable=lost.undecodable,
        request_id=request_id,
    )
