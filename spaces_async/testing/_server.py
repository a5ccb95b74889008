"""The HTTP server: receives requests, sends responses and faults."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import re
import socket
import struct
import uuid
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import unquote

from aiohttp import web

from spaces_async.testing._reads import APPS
from spaces_async.testing._routes import find
from spaces_async.testing._threads import guarded
from spaces_async.testing._wire import (
    Call,
    MovedError,
    ReceivedRequest,
    RefusedError,
    Reply,
    moved,
    refusal,
)
from spaces_async.testing.faults import Fault, FaultKind, FaultList
from spaces_async.testing.quota import Quota, QuotaWindow

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from spaces_async.testing._world import World
    from spaces_async.testing.accounts import Identity

__all__ = ["HubServer"]

_SPACE_PATH = re.compile(r"/api/spaces/([^/]+/[^/]+)(?:/.*)?")
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?", re.ASCII)
_NOT_SPACES = ("zero-gpu/", "by-subdomain/")
# SO_LINGER with 0 seconds: close() sends a reset and drops unsent data.
_LINGER_RESET = struct.pack("ii", 1, 0)


class HubServer:
    """Serves the calls to one `World`."""

    def __init__(
        self,
        world: World,
        *,
        quota: Quota,
        anonymous_quota: Quota,
        announce_quota: bool,
        round_t: Literal["ceil", "floor"],
        latency: tuple[float, float],
        seed: int,
    ) -> None:
        self.requests: list[ReceivedRequest] = []
        self.faults = FaultList()
        self.in_flight = 0
        self.max_in_flight = 0
        self.quota = quota
        self.anonymous_quota = anonymous_quota
        self.announce_quota = announce_quota
        self.round_t: Literal["ceil", "floor"] = round_t
        self._latency = latency
        # Separate from the ids, which stay the same with and without latency.
        self._rng = random.Random(seed)  # noqa: S311  (not a secret)
        self._world = world
        self._windows: dict[str | None, QuotaWindow] = {}
        self._listener: asyncio.Server | None = None
        self._server: web.Server | None = None
        self._background: set[asyncio.Task[Reply]] = set()

    # Start and end ---------------------------------------------------------------

    async def start(
        self, host: str, port: int, *, sock: socket.socket | None = None
    ) -> int:
        """Listen on a host and port, or on a socket; return the port."""
        # handler_cancellation: when a client disconnects, its streams and hangs end.
        self._server = web.Server(
            self._handle, access_log=None, handler_cancellation=True
        )
        loop = asyncio.get_running_loop()
        if sock is None:
            self._listener = await loop.create_server(self._server, host, port)
        else:
            self._listener = await loop.create_server(self._server, sock=sock)
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close all connections and wait until all tasks have ended."""
        background = [*self._background]
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background)
        listener, self._listener = self._listener, None
        server, self._server = self._server, None
        if listener is None or server is None:
            return
        # A connection that asyncio has accepted takes three steps to start (a task, its
        # transport, connection_made). One whose listener is closed before is lost and
        # stays open: accept no more, let those start, then close.
        for sock in listener.sockets:
            with contextlib.suppress(NotImplementedError):  # Windows' default loop
                asyncio.get_running_loop().remove_reader(sock.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        listener.close()
        for connection in server.connections:
            connection.force_close()
        await server.shutdown(timeout=0.0)

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock that guards the state of the Hub."""
        return self._world.lock

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._server.connections) if self._server is not None else 0

    def window(self, user: str | None) -> QuotaWindow:
        """Return the quota window of a user; None is for all calls without a token."""
        quota = self.anonymous_quota if user is None else self.quota
        return self._windows.setdefault(user, QuotaWindow(quota))

    # One call --------------------------------------------------------------------

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            before, after = (self._rng.uniform(*self._latency) / 2 for _ in range(2))
            if before:
                await self._world.clock.sleep(before)
            response = await self._serve(http)
            if after:
                await self._world.clock.sleep(after)
            return response
        finally:
            self.in_flight -= 1

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        body, prefix = await http.read(), self._world.options.path_prefix
        with self._world.lock:
            request = _received(http, body, self._world.now(), prefix)
            self.requests.append(request)
            caller = self._world.accounts.identify(request.token)
            base, target = self._base(http), http.path_qs
            call = Call(request, caller, base=base, target=target)
            window = self.window(caller.user.name if caller.user else None)
            is_app = request.path.startswith(APPS)
            over_quota = not (is_app or window.take(self._world.now()))
            delay, fault = (
                (0.0, None)
                if over_quota
                else self.faults.pick(
                    request.method, request.path, _repo_id(request, caller)
                )
            )
        if over_quota:
            return await self._send(http, call, refusal(_over_quota(caller, window)))

        def work() -> Reply:
            if fault is not None and not fault.acted:
                return Reply()
            return self._act(call, http.rel_url.raw_path)

        reply = await self._act_later(delay, work) if delay > 0 else work()
        if fault is None:
            return await self._send(http, call, reply)
        return await self._apply_fault(http, call, fault, reply)

    async def _act_later(self, delay: float, work: Callable[[], Reply]) -> Reply:
        """Act after a delay, even if the client has disconnected by then."""

        async def run() -> Reply:
            await self._world.clock.sleep(delay)
            return work()

        task = asyncio.create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return await asyncio.shield(task)

    def _act(self, call: Call, raw_path: str) -> Reply:
        """Perform the call and return the response."""
        prefix = self._world.options.path_prefix
        # What is beside the prefix is the mirror's own, which has no Hub there.
        path = raw_path.removeprefix(prefix) if _is_below(raw_path, prefix) else ""
        with self._world.lock:
            try:
                route, call.params = find(call.request.method, path)
                reply = route.answer(self._world, call)
            except RefusedError as error:
                return refusal(error)
            except MovedError as error:
                return moved(call, error)
            call.request.acted = route.writes and reply.acted
            return reply

    def _base(self, http: web.BaseRequest) -> str:
        """Return the base URL by which a client reaches this Hub."""
        host = http.headers.get("Host", "")
        if not _HOST.fullmatch(host):
            return self._world.url
        return f"http://{host}{self._world.options.path_prefix}"

    # Responses -------------------------------------------------------------------

    @guarded
    def _headers(self, call: Call, reply: Reply) -> dict[str, str]:
        """Return the headers of every response plus those of this one."""
        world, now = self._world, self._world.now()
        trace = call.request.headers.get("X-Amzn-Trace-Id")
        tail = trace or str(uuid.UUID(hex=world.hex(32)))
        when = world.utcnow()
        root = f"Root=1-{int(when.timestamp()):08x}-{world.hex(24)}"
        headers = {
            "Date": format_datetime(when, usegmt=True),
            "X-Request-Id": f"{root};{tail}",
            "X-Powered-By": "huggingface-moon",
            "Access-Control-Expose-Headers": _EXPOSED,
        }
        if self.announce_quota:
            window = self.window(call.caller.user.name if call.caller.user else None)
            headers |= window.headers(now, self.round_t)
        if call.request.method == "GET" and reply.status == _OK and not reply.stream:
            digest = hashlib.sha256(reply.body).hexdigest()[:27]
            headers["ETag"] = f'W/"{len(reply.body):x}-{digest}"'
        return headers | dict(reply.headers)

    async def _send(
        self, http: web.BaseRequest, call: Call, reply: Reply
    ) -> web.StreamResponse:
        headers = self._headers(call, reply)
        call.request.status = reply.status
        if reply.stream is None:
            return web.Response(status=reply.status, body=reply.body, headers=headers)
        response = web.StreamResponse(status=reply.status, headers=headers)
        # A client may leave a stream at any time; that is not an error.
        with contextlib.suppress(ConnectionError):
            await response.prepare(http)
            await reply.stream(response.write)
            await response.write_eof()
        return response

    # Faults ----------------------------------------------------------------------

    async def _apply_fault(
        self, http: web.BaseRequest, call: Call, fault: Fault, reply: Reply
    ) -> web.StreamResponse:
        """Apply a fault instead of sending the reply."""
        transport = http.transport
        match fault.kind:
            case FaultKind.ANSWER | FaultKind.DELAY:
                return await self._send(http, call, _replaced(fault, reply))
            case FaultKind.WINDOW_LIMIT:
                return await self._send(http, call, self._window_limit(call, fault))
            case FaultKind.RAW:
                _write(transport, fault.body or b"")
            case FaultKind.TRUNCATED:
                call.request.status = reply.status
                _write(transport, _truncated(reply, self._headers(call, reply)))
            case FaultKind.RESET:
                _reset(transport)
            case FaultKind.DISCONNECT:
                _write(transport, b"")
            case FaultKind.HANG:
                pass
        return await _never()

    def _window_limit(self, call: Call, fault: Fault) -> Reply:
        window = self.window(call.caller.user.name if call.caller.user else None)
        reply = refusal(_over_quota(call.caller, window))
        headers = dict(reply.headers) | dict(fault.headers)
        if self.announce_quota:
            actual = window.headers(self._world.now(), self.round_t)["RateLimit"]
            headers["RateLimit"] = re.sub(r"r=\d+", f"r={fault.left or 0}", actual)
        return Reply(reply.status, reply.body, headers)


_OK = 200
_EXPOSED = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,"
    "Accept-Ranges,Content-Range"
)


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(f"{prefix}/")


def _received(
    http: web.BaseRequest, body: bytes, now: float, prefix: str
) -> ReceivedRequest:
    scheme, _, token = http.headers.get("Authorization", "").partition(" ")
    value: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(body) if body else None
    path = http.rel_url.raw_path
    if _is_below(path, prefix):
        path = path.removeprefix(prefix)
    return ReceivedRequest(
        method=http.method,
        path=unquote(path),
        query=list(http.rel_url.query.items()),
        headers=http.headers.copy(),
        body=body,
        json=value,
        token=token.strip() if scheme.lower() == "bearer" and token else None,
        at=now,
    )


def _repo_id(request: ReceivedRequest, caller: Identity) -> str | None:
    """Return the Space that a request is about, for faults of a single Space."""
    found = _SPACE_PATH.fullmatch(request.path)
    if found is not None and not found[1].startswith(_NOT_SPACES):
        return found[1]
    value = request.json
    if request.path.startswith("/api/repos/") and isinstance(value, dict):
        body = cast("dict[str, Any]", value)
        if "fromRepo" in body:
            return str(body["fromRepo"])
        owner = body.get("organization") or (caller.user.name if caller.user else None)
        return f"{owner}/{body.get('name')}"
    return None


def _over_quota(caller: Identity, window: QuotaWindow) -> RefusedError:
    if caller.user is None:
        return RefusedError(
            429,
            "We had to rate limit your IP (127.0.0.1). To continue using our service,"
            " create a HF account or login to your existing account, and make sure you"
            " pass a HF_TOKEN if you're using the API.",
        )
    quota = window.quota
    return RefusedError(
        429,
        f"We had to rate limit you, you hit the quota of {quota.limit} api requests"
        f" per {quota.window / 60:g} minutes period. Upgrade to a PRO user or"
        " Team/Enterprise organization account (https://hf.co/pricing) to get higher"
        " limits.",
    )


def _replaced(fault: Fault, reply: Reply) -> Reply:
    """Return the response that a fault replaces the reply with."""
    status = fault.answer_status or reply.status
    if fault.body is not None:
        headers = {"Content-Type": _JSON, **reply.headers, **fault.headers}
        return Reply(status, fault.body, headers)
    error = RefusedError(status, fault.text or _phrase(status), code=fault.code)
    return refusal_with(error, fault)


def refusal_with(error: RefusedError, fault: Fault) -> Reply:
    """Return an error response with the headers of a fault."""
    reply = refusal(error)
    return Reply(reply.status, reply.body, {**reply.headers, **fault.headers})


_JSON = "application/json; charset=utf-8"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _truncated(reply: Reply, headers: dict[str, str]) -> bytes:
    """Return a response that ends in the middle of its body."""
    body = reply.body or b"{}"
    headers["Content-Length"] = str(len(body) + 16)
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("latin-1")
    return head + b"\r\n\r\n" + body[: max(1, len(body) // 2)]


def _write(transport: asyncio.Transport | None, data: bytes) -> None:
    """Send raw bytes, then close the connection cleanly."""
    if transport is not None:
        if data:
            transport.write(data)
        transport.close()


def _reset(transport: asyncio.Transport | None) -> None:
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    # Simulated sockets have no resets; an immediate close is the closest equivalent.
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()


async def _never() -> web.StreamResponse:
    """Wait until the connection is closed, which cancels this coroutine."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError  # pragma: no cover
