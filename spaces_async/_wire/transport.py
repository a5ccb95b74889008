"""One HTTP exchange: a request out, a response in. The only client of aiohttp.

It sends a request once, follows no redirect and decides nothing. A failure is a value
(`LostResponse`), because the frames of aiohttp's exceptions hold the token and the body:
no such exception, and no traceback through aiohttp, leaves this module.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
import platform
import ssl
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import hdrs
from attrs import evolve
from multidict import istr

from spaces_async._redacted import STARS
from spaces_async._version import __version__
from spaces_async._wire.alarms import Alarms
from spaces_async._wire.messages import (
    BodyStream,
    LostResponse,
    Request,
    Response,
    TimeLimit,
)
from spaces_async._wire.proxies import find_proxy, is_loopback, proxy_url
from spaces_async._wire.ratelimit import parse_quota, parse_retry_after
from spaces_async._wire.responses import OK
from spaces_async._wire.transport_errors import (
    DroppedError,
    FencedError,
    classify_exception,
    in_seconds,
    reason_of,
)
from spaces_async._wire.watch import LATE_SECONDS, Watch
from spaces_async.errors import ClientClosedError, ConfigurationError

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from multidict import CIMultiDictProxy
    from yarl import URL

    from spaces_async._clock import Clock
    from spaces_async._redacted import Redacted, Token
    from spaces_async.settings import ClientSettings, Timeouts

USER_AGENT: Final = (
    f"spaces-async/{__version__} python/{platform.python_version()}"
    f" aiohttp/{aiohttp.__version__}"
)
_LARGE_BODY_BYTES: Final = 512 * 1024
_NEARLY_ALL: Final = 0.95
"""An attempt with this share of the call's total time had more than the rest of it."""
_MAX_CLIENT_TIMEOUTS: Final = 64
"""How many different limits are kept in the form of aiohttp."""
_ACCEPT_ENCODING: Final = "gzip, deflate"
"""aiohttp would offer Brotli wherever it is installed, though some versions fail."""

# An access to a member of an enumeration takes time on Python 3.11.
_OK: Final = HTTPStatus.OK.value
_PAGE: Final = "text/html"
# Names whose case is folded once, and not for each response.
_REQUEST_ID: Final = istr("X-Request-Id")
_QUOTA: Final = istr("RateLimit")
_POLICY: Final = istr("RateLimit-Policy")

_TRUST_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class _TrackedRequest(aiohttp.ClientRequest):
    """A request that knows who watches its exchange."""

    exchange: Exchange | None = None


class _Connector(aiohttp.TCPConnector):
    """Notes that a request has its connection, to which it is then written at once.

    An idle connection on which unexpected bytes have arrived is discarded: aiohttp would
    take them for the response to the next request.
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
                break
            connection.close()
        if isinstance(req, _TrackedRequest) and req.exchange is not None:
            exchange = req.exchange
            if exchange.may_send is not None and not exchange.may_send():
                connection.close()
                raise FencedError
            exchange.protocol = protocol
            exchange.note_connection()
        return connection

    def abandon(self) -> None:
        """Close all connections of an event loop that does not run any more."""
        self._close()


class Exchange(Watch):
    """One exchange as it goes on. Also the client middleware around it.

    As such it sees to it that nothing is silently sent again, and it learns from the
    connector how far it has come. aiohttp's own limit on the silence before the headers
    sets two timers for each exchange, so it is asked for only where they are late.

    Attributes:
        protocol: Its connection. The connector sets it, before there is any silence.
    """

    __slots__ = ("protocol",)

    protocol: ResponseHandler | None

    def limit_silence(self, seconds: float, silent: float) -> None:
        """Let the read fail when nothing arrives for a while."""
        protocol = self.protocol
        if protocol is None:
            return
        protocol.read_timeout = max(0.001, seconds - silent)
        protocol.start_timeout()
        # From now on each packet restarts it.
        protocol.read_timeout = seconds

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send the request once."""
        if isinstance(request, _TrackedRequest):
            request.exchange = self
        try:
            return await handler(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise DroppedError(reason_of(error)) from None


class _BorrowedGuard:
    """A client middleware that sets the final headers in a borrowed session.

    The session may add cookies and an Authorization header of its own. Neither may be
    sent with our requests.
    """

    __slots__ = ("_direct", "_token")

    def __init__(self, token: Token | None, *, direct: bool) -> None:
        self._token = token
        self._direct = direct

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.popall(hdrs.COOKIE, None)
        request.headers.popall(hdrs.AUTHORIZATION, None)
        if self._token is not None:
            request.headers[hdrs.AUTHORIZATION] = f"Bearer {self._token.reveal()}"
        if self._direct:
            # The session may have read the environment itself.
            request.update_proxy(None, None, None)
        return await handler(request)


class _Stream(BodyStream):
    """The body of one of aiohttp's responses."""

    __slots__ = ("_response", "_timeouts")

    def __init__(self, response: aiohttp.ClientResponse, timeouts: Timeouts) -> None:
        self._response = response
        self._timeouts = timeouts

    async def read(self, silence: float) -> bytes | LostResponse | None:
        try:
            return await _next_chunk(self._response, silence) or None
        except Exception as error:  # noqa: BLE001  (see the module's docstring)
            return classify_exception(
                error, evolve(self._timeouts, read=silence), sent=True
            )
        except BaseException as error:  # noqa: BLE001  (it is raised again)
            raise error.with_traceback(None) from None

    def close(self) -> None:
        self._response.close()


class Transport:
    """The connections of a client. They are opened inside the event loop."""

    def __init__(
        self,
        origin: URL,
        settings: ClientSettings,
        clock: Clock,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.alarms: Final = Alarms()
        self._clock = clock
        self._origin = origin
        self._origin_parts = _origin_of(origin)
        self._settings = settings
        self._borrowed = session is not None
        self._session = session
        self._closed = False
        self._proxy = _find_proxy(origin, settings)
        self._direct = self._proxy is None and is_loopback(origin)
        agent = settings.user_agent
        self._same_headers: dict[str, str] = {
            hdrs.USER_AGENT: f"{agent} {USER_AGENT}" if agent else USER_AGENT,
            hdrs.ACCEPT_ENCODING: _ACCEPT_ENCODING,
        }
        self._client_timeouts: dict[tuple[Any, Any], aiohttp.ClientTimeout] = {}

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed

    async def aclose(self) -> None:
        """Close the connections; a borrowed session stays open."""
        self._closed = True
        session, self._session = self._session, None
        # The alarms stay: calls in flight still need their limits.
        if session is not None and not self._borrowed:
            await session.close()

    def abandon(self) -> None:
        """Close the connections where their event loop does not run any more."""
        self._closed = True
        session, self._session = self._session, None
        if session is None or self._borrowed:
            return
        if isinstance(session.connector, _Connector):
            session.connector.abandon()
        session.detach()

    async def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosedError
        tls: Any = True
        if self._session is None and self._origin.scheme == "https":
            # aiohttp's own was made when it was imported. Reading the certificates
            # takes a while.
            tls = self._settings.ssl or (await asyncio.to_thread(_trusted))
            if self._closed:
                raise ClientClosedError
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # `Places` limits the requests in flight. A wait for a connection here
                # would count against the time to connect.
                connector=_Connector(limit=0, ssl=tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=_TrackedRequest,
            )
        elif self._session.closed:
            raise ClientClosedError("the session that the client borrowed is closed")
        return self._session

    def _headers(
        self, session: aiohttp.ClientSession, request: Request, token: Token | None
    ) -> dict[str, str]:
        headers = {**self._same_headers, _REQUEST_ID: request.request_id}
        # If a borrowed session has credentials of its own or reads `.netrc`, aiohttp
        # refuses this header. Then only the guard sets it.
        by_guard = self._borrowed and (session.auth is not None or session.trust_env)
        if token is not None and not by_guard:
            headers[hdrs.AUTHORIZATION] = f"Bearer {token.reveal()}"
        if request.body:
            headers[hdrs.CONTENT_TYPE] = "application/json"
        if request.stream:
            headers[hdrs.ACCEPT] = "text/event-stream"
        return headers

    def _client_timeout(
        self, connect: float | None, read: float | None
    ) -> aiohttp.ClientTimeout:
        made = self._client_timeouts.get((connect, read))
        if made is None:
            if len(self._client_timeouts) >= _MAX_CLIENT_TIMEOUTS:
                self._client_timeouts.clear()
            made = self._client_timeouts[connect, read] = aiohttp.ClientTimeout(
                total=None,
                # This also bounds the lookup of the host name. In a borrowed session
                # it would also bound the wait for a free connection.
                connect=None if self._borrowed else connect,
                sock_connect=connect,
                sock_read=read,
            )
        return made

    async def ask(self, url: URL, *, seconds: float) -> int | str:
        """Ask another host than the Hub; the token does not go there.

        Args:
            url: What to ask. Of its answer only the status matters.
            seconds: How long to wait for it.

        Returns:
            The status, or why there is none.
        """
        request = Request(
            method="GET",
            url=url,
            token=None,
            body=None,
            request_id=str(uuid.uuid4()),
            timeouts=evolve(self._settings.timeouts, connect=seconds, read=seconds),
            limit=TimeLimit(seconds, "total"),
        )
        try:
            answer = await self.exchange(request, Exchange(self.alarms))
        except ConfigurationError as error:
            return str(error)  # The environment's proxy for this host is none.
        if isinstance(answer, LostResponse) and answer.status is None:
            return answer.reason
        return answer.status or 0

    async def exchange(
        self, request: Request, exchange: Exchange
    ) -> Response | LostResponse:
        """Send one request and read its response, of a stream only the headers.

        Args:
            request: The request.
            exchange: Knows how far it has come, and what is due meanwhile.

        Returns:
            The response, or why there is none. If its `stream` is set, the caller has
            to close it.

        Raises:
            ClientClosedError: The client, or the session that it borrowed, is closed.
        """
        session = self._session
        if session is None or session.closed:
            session = await self._open()
        exchange.seconds = request.limit.seconds
        try:
            with exchange:
                received = await self._transfer(session, request, exchange)
        except TimeoutError:
            limit = request.limit
            what = "response" if request.stream else "complete response"
            reason = f"no {what} within {in_seconds(limit.seconds)}"
            if limit.phase == "total" and _is_rest(limit.seconds, request.timeouts):
                reason += ", all that was left of the call's total time"
            received = LostResponse(reason, sent=exchange.sent, phase=limit.phase)
        except BaseException as error:  # noqa: BLE001  (it is raised again)
            # It was cancelled or interrupted. The frames below hold the token and the
            # body.
            raise error.with_traceback(None) from None
        if isinstance(received, LostResponse):
            if exchange.refusal is not None:
                # Its headers say what counts, without the rest of its body.
                return exchange.refusal
            return evolve(
                received,
                status=exchange.status,
                request_id=request.request_id,
                page=exchange.page,
            )
        return received

    async def _transfer(
        self, session: aiohttp.ClientSession, request: Request, exchange: Exchange
    ) -> Response | LostResponse:
        timeouts, url, body = request.timeouts, request.url, request.body
        token, proxy, direct = request.token, self._proxy, self._direct
        if not self._is_own(url):
            # Only the endpoint gets the token. An app may have another proxy, or none.
            token, proxy = None, _find_proxy(url, self._settings)
            direct = proxy is None and is_loopback(url)
        # The reader of a stream says how long it may be silent.
        read = None if request.stream else timeouts.read
        middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (exchange,)
        if self._borrowed:
            # It does not have our connector: assume that it sends at once.
            exchange.sent = True
            guard = _BorrowedGuard(token, direct=direct)
            middlewares = (guard, exchange)
        elif read is not None and read > LATE_SECONDS and body is None:
            exchange.silence, read = read, None
        try:
            response = await session.request(
                request.method,
                url,
                data=None if body is None else _payload(body),
                headers=self._headers(session, request, token),
                timeout=self._client_timeout(timeouts.connect, read),
                allow_redirects=False,
                raise_for_status=False,
                proxy=proxy,
                middlewares=middlewares,
                ssl=self._settings.ssl or True,
            )
            exchange.sent = True
            exchange.status = response.status
            exchange.page = _is_page(response)
            if response.status not in OK:
                exchange.refusal = self._received(response, exchange, request)
            if request.stream and response.status == _OK:
                stream = _Stream(response, timeouts)
                return self._received(response, exchange, request, stream=stream)
            if response.closed and body is None:
                # A short body came with the headers, and the connection is free again.
                content = self._at_most(response, response.content.read_nowait())
            else:
                async with response:
                    content = await self._read(response, request)
            if isinstance(content, LostResponse):
                return content
            return self._received(response, exchange, request, content)
        except Exception as error:  # noqa: BLE001  (see the module's docstring)
            return classify_exception(error, timeouts, sent=exchange.sent)

    def _is_own(self, url: URL) -> bool:
        """Return whether a URL is at the endpoint; yarl compares origins more slowly."""
        scheme, host, port = self._origin_parts
        return url.raw_host == host and url.port == port and url.scheme == scheme

    async def _read(
        self, response: aiohttp.ClientResponse, request: Request
    ) -> bytes | LostResponse:
        chunks: list[bytes] = []
        size = 0
        while chunk := await _next_chunk(response, request.timeouts.read):
            size += len(chunk)
            chunks.append(chunk)
            if size > self._settings.max_response_bytes:
                break
        return self._at_most(response, b"".join(chunks))

    def _at_most(
        self, response: aiohttp.ClientResponse, body: bytes
    ) -> bytes | LostResponse:
        """Return a body, if it is not larger than the limit."""
        most = self._settings.max_response_bytes
        if len(body) <= most:
            return body
        response.close()
        reason = f"the response is larger than max_response_bytes ({most} bytes)"
        return LostResponse(reason, sent=True, too_large=True)

    def _received(
        self,
        response: aiohttp.ClientResponse,
        exchange: Exchange,
        request: Request,
        body: bytes = b"",
        stream: BodyStream | None = None,
    ) -> Response:
        headers, token = response.headers, request.token
        date, status = headers.get(hdrs.DATE), response.status
        received = Response(
            status=status,
            body=body,
            request_id=_hide(token, headers.get(_REQUEST_ID) or request.request_id),
            quota=parse_quota(_joined(headers, _QUOTA), _joined(headers, _POLICY)),
            date=date,
            page=exchange.page,
            stream=stream,
        )
        if hdrs.LINK in headers:
            received.next_url = _hide(token, _next_url(response))
        if status == _OK:
            return received
        # All else is about what went wrong.
        received.code = _hide(token, headers.get("X-Error-Code"))
        received.error_message = _hide(token, headers.get("X-Error-Message"))
        received.location = _hide(token, headers.get(hdrs.LOCATION))
        retry_after = headers.get(hdrs.RETRY_AFTER)
        if retry_after is not None:
            received.retry_after = parse_retry_after(
                retry_after, date=date, now=self._clock.utcnow()
            )
        return received


def _is_page(response: aiohttp.ClientResponse) -> bool:
    # aiohttp's own property parses the header with its parameters.
    kind = response.headers.get(hdrs.CONTENT_TYPE, "")
    return "html" in kind.lower() and response.content_type == _PAGE


def _origin_of(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.raw_host, url.port


def _find_proxy(origin: URL, settings: ClientSettings) -> URL | None:
    if settings.proxy is not None:
        return proxy_url(settings.proxy)
    return find_proxy(origin) if settings.trust_env else None


def _trusted() -> ssl.SSLContext:
    """Return a TLS context that trusts what the environment names now."""
    cafile = ssl.get_default_verify_paths().cafile
    try:
        changed = Path(cafile).stat().st_mtime if cafile else 0.0
    except OSError:
        changed = 0.0
    return _make_context(changed, *map(os.environ.get, _TRUST_VARIABLES))


@functools.lru_cache(maxsize=4)
def _make_context(_changed: float, *_variables: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _payload(body: Redacted[bytes]) -> bytes | io.BytesIO:
    # aiohttp warns of large bytes, which it would write in one go.
    large = len(body.reveal()) > _LARGE_BODY_BYTES
    return io.BytesIO(body.reveal()) if large else body.reveal()


async def _next_chunk(response: aiohttp.ClientResponse, silence: float | None) -> bytes:
    """Return the part of the body that has arrived, b"" at its end.

    aiohttp's own limit on silence is not enough: if a later part of the body is
    malformed, aiohttp stops the timer and never wakes the reader.
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


def _hide(token: Token | None, text: str | None) -> str | None:
    """Replace the token, which a server may echo, in the text of a header."""
    if token is None or not text:
        return text
    return text.replace(token.reveal(), STARS)


def _is_rest(seconds: float | None, timeouts: Timeouts) -> bool:
    """Return whether an attempt has only the rest of the call's total time."""
    if seconds is None or timeouts.total is None:
        return False
    return seconds < _NEARLY_ALL * timeouts.total


def _joined(headers: CIMultiDictProxy[str], name: str) -> str | None:
    values = headers.getall(name, None)
    if values is None:
        return None
    return values[0] if len(values) == 1 else ", ".join(values)


def _next_url(response: aiohttp.ClientResponse) -> str | None:
    try:
        following = response.links.get("next")
    except ValueError:
        # It is no URL. That is an error only for a caller that follows it.
        return response.headers[hdrs.LINK]
    target = following.get("url") if following else None
    return None if target is None else str(target)
