"""A server on loopback that does to a connection what no HTTP library would.

It speaks just enough HTTP to know when a request is complete, answers as the Hub does
where nothing else was asked for, and plays a script of raw steps where it was.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Self

from attrs import define, field, frozen

Step = Callable[["Peer"], Awaitable[None]]
Script = tuple[Step, ...]

_LINGER_ZERO = struct.pack("ii", 1, 0)
_TURNS = 30


@frozen
class Request:
    """A complete request, and the number of the connection that it came on."""

    method: str
    path: str
    head: bytes
    body: bytes
    connection: int


@define(eq=False)
class Fault:
    """What happens to the requests of a route; `times` None is for ever."""

    route: str
    script: Script
    times: int | None = None
    acted: bool = False

    def takes(self, method: str, path: str) -> bool:
        wanted, suffix = self.route.split()
        return self.times != 0 and method == wanted and path.endswith(suffix)


@define(eq=False)
class Peer:
    """The server's end of one connection."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: FaultServer

    async def read_request(self) -> Request:
        head = await self.read_head()
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await self.reader.readexactly(length)
        return self.request(head, body)

    async def read_head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    def request(self, head: bytes, body: bytes) -> Request:
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        path = target.partition("?")[0]
        return Request(method, path, head, body, self.number)

    async def write(self, data: bytes) -> None:
        for word, meaning in self.server.words.items():
            data = data.replace(word, meaning)
        self.writer.write(data)
        await self.writer.drain()


def send(data: bytes) -> Step:
    """Send bytes; `{own}` and `{other}` stand for the URLs of the two servers."""

    async def step(peer: Peer) -> None:
        await peer.write(data)

    return step


def flood(data: bytes) -> Step:
    """Send the same bytes for ever, as fast as they are taken."""

    async def step(peer: Peer) -> None:
        while True:
            peer.writer.write(data)
            await peer.writer.drain()
            peer.server.flooded += len(data)

    return step


def drip(data: bytes) -> Step:
    """Send the same few bytes for ever, a portion in each turn of the loop."""

    async def step(peer: Peer) -> None:
        while not peer.reader.at_eof():
            peer.writer.write(data)
            await peer.writer.drain()
            await asyncio.sleep(0)

    return step


async def pause(_peer: Peer) -> None:
    """Let the client read what was sent so far."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def reset(peer: Peer) -> None:
    """End the connection with RST."""
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    peer.writer.transport.abort()


async def close(peer: Peer) -> None:
    """End the connection with FIN, after the last byte."""
    peer.writer.close()
    await peer.writer.wait_closed()


async def stall(peer: Peer) -> None:
    """Say nothing more until the client leaves."""
    await peer.reader.read()


@define(eq=False)
class FaultServer:
    """The server. Use it with `async with`.

    Attributes:
        tls: What connections are encrypted with; None is plain text.
        backlog: How many connections may wait to be accepted.
        scheme: How the client addresses it.
        peers: The server's ends of all connections.
        connections: How many connections were accepted.
        requests: Complete requests, in order.
        greeting: Played on a new connection, before anything is read.
        greetings: On how many; None is on all.
        accepting: Whether connections are accepted from the start.
        early: Whether requests are answered before their body is read.
        words: What to replace in the bytes of scripts.
        stages: Of the Spaces that were acted on.
        secrets: That were set, by key.
        flooded: How many bytes `flood` has sent.
        now: The server's wall clock.
    """

    tls: ssl.SSLContext | None = None
    backlog: int = 100
    accepting: bool = True
    scheme: str = "http"
    peers: list[Peer] = field(factory=list[Peer])
    connections: int = 0
    requests: list[Request] = field(factory=list[Request])
    greeting: Script = ()
    greetings: int | None = None
    early: bool = False
    words: dict[bytes, bytes] = field(factory=dict[bytes, bytes])
    stages: dict[str, str] = field(factory=dict[str, str])
    secrets: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]])
    flooded: int = 0
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    port: int = 0
    _faults: list[Fault] = field(factory=list[Fault])
    _listener: socket.socket | None = None
    _acceptor: asyncio.Task[None] | None = None
    _open: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.listen()
        if self.accepting:
            self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def listen(self) -> socket.socket:
        """Take the port; before, and after `refuse`, connections are refused."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=self.backlog)
        listener.setblocking(False)
        self._listener = listener
        self.port = listener.getsockname()[1]
        self.words.setdefault(b"{own}", self.url.encode())
        return listener

    def accept(self) -> None:
        """Accept the connections that wait and will come."""
        self._acceptor = asyncio.create_task(self._take_all())

    async def refuse(self) -> None:
        """Give the port back for the time being."""
        tasks = [*self._open, *([self._acceptor] if self._acceptor else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            await asyncio.wait((task,))
        self._open.clear()
        self._acceptor = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def aclose(self) -> None:
        await self.refuse()
        for _ in range(3):  # transports close a turn later
            await asyncio.sleep(0)

    def fault(
        self,
        route: str,
        script: Script,
        *,
        times: int | None = None,
        acted: bool = False,
    ) -> None:
        """Break a route, such as "POST /pause"."""
        self._faults.append(Fault(route, script, times, acted))

    def heal(self) -> None:
        """Be healthy from here on."""
        self._faults.clear()
        self.greeting = ()
        self.early = False

    def count(self, route: str) -> int:
        """Return how many complete requests of a route came."""
        wanted = Fault(route, ())
        return sum(wanted.takes(r.method, r.path) for r in self.requests)

    def routes(self) -> Counter[str]:
        """Return how many complete requests came, by method and last segment."""
        return Counter(f"{r.method} /{r.path.split('/')[-1]}" for r in self.requests)

    async def _take_all(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._listener is not None
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            task = asyncio.create_task(self._serve(sock, self.connections))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _serve(self, sock: socket.socket, number: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**24)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=self.tls
            )
        except (OSError, asyncio.CancelledError):
            sock.close()  # the client did not like what it saw of our certificate
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            peer = Peer(number, reader, writer, self)
            self.peers.append(peer)
            await self._talk(peer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client, or the test, is done with it
        finally:
            transport.abort()

    async def _talk(self, peer: Peer) -> None:
        if self.greeting and self.greetings != 0:
            if self.greetings is not None:
                self.greetings -= 1
            await self._play(self.greeting, peer)
        while not peer.writer.is_closing():
            if self.early:
                request = peer.request(await peer.read_head(), b"")
            else:
                request = await peer.read_request()
            self.requests.append(request)
            await self._react(peer, request)

    async def _react(self, peer: Peer, request: Request) -> None:
        for fault in self._faults:
            if fault.takes(request.method, request.path):
                if fault.times is not None:
                    fault.times -= 1
                if fault.acted:
                    self._answer(request)
                await self._play(fault.script, peer)
                return
        await peer.write(self._answer(request))

    async def _play(self, script: Script, peer: Peer) -> None:
        for step in script:
            await step(peer)

    def _answer(self, request: Request) -> bytes:
        *_, owner, name, last = request.path.split("/")
        repo_id = f"{owner}/{name}"
        body: dict[str, Any] = {}
        if last == "secrets":
            if request.method == "POST":
                key = json.loads(request.body)["key"]
                self.secrets[key] = {"key": key, "updatedAt": self.now.isoformat()}
            body = self.secrets
        else:
            acted = {"pause": "PAUSED", "restart": "BUILDING"}
            if last in acted:
                self.stages[repo_id] = acted[last]
            stage = self.stages.get(repo_id, "RUNNING")
            body = {"stage": stage, "path": request.path}
        date = b"Date: " + format_datetime(self.now, usegmt=True).encode()
        return reply(200, json.dumps(body).encode(), date)


def reply(
    status: int = 200,
    body: bytes = b"",
    *headers: bytes,
    length: int | None = None,
    kind: bytes = b"application/json",
    version: bytes = b"1.1",
) -> bytes:
    """Make an HTTP answer; `length` is what its Content-Length claims, -1 no claim."""
    length = len(body) if length is None else length
    lines = [b"HTTP/%s %d Whatever" % (version, status), b"Content-Type: " + kind]
    if length >= 0:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join([*lines, *headers, b"", body])
