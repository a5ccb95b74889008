"""A Hub that only answers: `python -m tests.benchmarks.server` prints its port.

It does no more than asyncio must, so that what is measured is the client. Nothing is
remembered: the owner `n10000` has 10,000 Spaces, whoever asks. Its first listing says
that they are building, the later ones that they run, so that waits have an end.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from functools import cache
from typing import Final, cast

SHA: Final = "f728b4fa42485e3a0a5d2f346baa9455e3e70682"
RUNTIME: Final = (
    '{"stage":"RUNNING","hardware":{"current":"t4-small","requested":"t4-small"},'
    '"storage":null,"gcTimeout":172800,"replicas":{"requested":1,"current":1},'
    '"devMode":false,"domains":[{"domain":"acme-demo-space.hf.space",'
    f'"stage":"READY"}}],"sha":"{SHA}"}}'
).encode()
RESTARTED: Final = RUNTIME.replace(b"RUNNING", b"BUILDING", 1)

_HEAD: Final = (
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: application/json; charset=utf-8\r\n"
    'RateLimit: "api";r=999999;t=299\r\n'
    'RateLimit-Policy: "fixed window";"api";q=1000000;w=300\r\n'
    "X-Request-Id: Root=1-6b08b73c-7da5e709d4713d60c8a70639\r\n"
    "{more}Content-Length: {length}\r\n\r\n"
)
_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LISTING: Final = re.compile(rb"GET /api/spaces\?(\S*)")
_AUTHOR: Final = re.compile(rb"author=([a-z]+)(\d*)")
_LIMIT: Final = re.compile(rb"limit=(\d+)")
_CURSOR: Final = re.compile(rb"cursor=(\d+)")
_HOST: Final = re.compile(rb"\r\nhost: *(\S+)", re.IGNORECASE)
_DEFAULT_LIMIT: Final = 1000
_ACME: Final = 3000
"""How many Spaces `acme` has, the owner of those that the bulks restart."""


def response(body: bytes, more: str = "") -> bytes:
    return _HEAD.format(more=more, length=len(body)).encode() + body


_RUNTIME_RESPONSE: Final = response(RUNTIME)
_RESTART_RESPONSE: Final = response(RESTARTED)


_FIELDS: Final = {
    "sdk": '"docker"',
    "private": "false",
    "likes": "12",
    "tags": '["docker","region:us"]',
    "createdAt": '"2026-03-02T17:07:31.000Z"',
    "lastModified": '"2026-08-14T09:41:05.000Z"',
}
"""The other fields that may be asked for."""


@cache
def page(
    author: str,
    count: int,
    first: int,
    limit: int,
    *,
    host: str,
    fields: tuple[str, ...],
    building: bool,
) -> bytes:
    """One page of the listing of the owner `acme`, or of another of `count` Spaces."""
    more = f',"runtime":{(RESTARTED if building else RUNTIME).decode()}'
    more += "".join(f',"{name}":{_FIELDS[name]}' for name in fields)
    last = min(count, first + limit)
    items = (
        f'{{"_id":"{number:024x}","id":"{author}/s{number}"{more}}}'
        for number in range(first, last)
    )
    link = ""
    if last < count:
        query = f"author={author}&expand=runtime&limit={limit}&cursor={last}"
        query += "".join(f"&expand={name}" for name in fields)
        link = f'Link: <http://{host}/api/spaces?{query}>; rel="next"\r\n'
    return response(f"[{','.join(items)}]".encode(), link)


class Serve(asyncio.Protocol):
    """One connection. Requests have no body, or one with a length."""

    listed: Final[set[int]] = set()

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none of these

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(_END)) >= 0:
            head = self.received[:end]
            length = _LENGTH.search(head)
            whole = end + len(_END) + (int(length[1]) if length else 0)
            if len(self.received) < whole:
                return
            self.received = self.received[whole:]
            self.answer(head)

    def answer(self, head: bytes) -> None:
        if head.startswith(b"POST"):
            said = _RESTART_RESPONSE
        elif (listing := _LISTING.match(head)) is not None:
            said = self.listing(listing[1], head)
        else:
            said = _RUNTIME_RESPONSE
        if self.latency:
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency, self.transport.write, said)
        else:
            self.transport.write(said)

    def listing(self, query: bytes, head: bytes) -> bytes:
        author, limit = _AUTHOR.search(query), _LIMIT.search(query)
        cursor, host = _CURSOR.search(query), _HOST.search(head)
        assert author is not None
        assert host is not None
        count = int(author[2] or _ACME)
        first = int(cursor[1]) if cursor else 0
        building = count not in self.listed
        size = int(limit[1]) if limit else _DEFAULT_LIMIT
        if first + size >= count:
            self.listed.add(count)
        fields = tuple(name for name in _FIELDS if name.encode() in query)
        name = (author[1] + author[2]).decode()
        here = host[1].decode()
        return page(
            name, count, first, size, host=here, fields=fields, building=building
        )


async def serve(latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Serve(latency), "127.0.0.1", 0, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds of a call")
    options = parser.parse_args()
    try:
        import uvloop  # noqa: PLC0415  (only a server that runs alone needs it)
    except ImportError:
        asyncio.run(serve(options.latency))
    else:
        uvloop.run(serve(options.latency))


if __name__ == "__main__":
    main()
