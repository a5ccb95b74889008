"""Proxies and `.netrc`: what the environment says, and what gets out through them."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import select
import socket
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import trustme
from attrs import define, field
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]
from yarl import URL

import spaces_async as sa
from spaces_async._wire.proxies import find_proxy
from spaces_async.client import session_of
from spaces_async.testing import FakeHub
from tests.support.fault_server import FaultServer
from tests.support.faults_bench import (
    SECRET,
    TOKEN,
    Bench,
    bench,
    caught,
    is_usable,
    read,
    secret,
    shows_nothing,
    write,
)

PASSWORD: Final = "canary-of-a-proxy-password"
HUB: Final = "https://hub.example"
PROXY: Final = "http://proxy.example:3128"


# What the environment says ----------------------------------------------------------

Environment = dict[str, str]

USED: Final[list[tuple[str, Environment, bool]]] = [
    (HUB, {"HTTPS_PROXY": PROXY}, True),
    (HUB, {"https_proxy": PROXY}, True),
    (HUB, {"ALL_PROXY": PROXY}, True),
    (HUB, {"all_proxy": PROXY}, True),
    (HUB, {"HTTP_PROXY": PROXY, "http_proxy": PROXY}, False),
    ("http://hub.example", {"HTTP_PROXY": PROXY}, True),
    ("http://hub.example", {"HTTPS_PROXY": PROXY}, False),
    (HUB, {"HTTPS_PROXY": "proxy.example:3128"}, True),
    (HUB, {"HTTPS_PROXY": ""}, False),
    # Lower case wins, and empty it switches the other one off.
    (HUB, {"HTTPS_PROXY": PROXY, "https_proxy": ""}, False),
    (HUB, {"HTTPS_PROXY": "http://wrong.example", "https_proxy": PROXY}, True),
    (HUB, {}, False),
]

DIRECT: Final[list[tuple[str, str, bool]]] = [
    (HUB, "*", True),
    (HUB, "other.example,*", True),
    (HUB, "hub.example", True),
    (HUB, "HUB.Example", True),
    (HUB, " other.example , hub.example ", True),
    (HUB, "example", True),
    (HUB, "ub.example", False),
    (HUB, "hub.example.org", False),
    (HUB, "", False),
    (HUB, ",,", False),
    ("https://a.hub.example", "hub.example", True),
    ("https://a.hub.example", ".hub.example", True),
    ("https://a.hub.example", "*.hub.example", True),
    (HUB, "hub.example:8443", False),
    ("https://hub.example:8443", "hub.example:8443", True),
    ("https://hub.example:8443", "hub.example", True),
    (HUB, "https://hub.example", True),
    (HUB, "http://hub.example", False),
    ("https://10.1.2.3", "10.1.2.3", True),
    ("https://10.1.2.3", "10.1.2.4", False),
    ("https://10.1.2.3", "10.0.0.0/8", True),
    ("https://10.1.2.3", "11.0.0.0/8", False),
    ("https://[::1]", "::1", True),
    ("https://[::1]", "[::1]", True),
    ("https://[::1]:8443", "[::1]:8443", True),
    ("https://localhost", "localhost", True),
    (HUB, "10.0.0.0/8", False),
]


def uses_proxy(url: str) -> bool:
    return find_proxy(URL(url)) is not None


def official_agrees(url: str, used: bool) -> bool:
    """Ask the HTTP library of the official client what it would do."""
    kind: Any = type(get_session())
    if not kind.__module__.startswith("httpx2"):
        return True  # its predecessor knows fewer forms of NO_PROXY
    with kind(verify=False) as session:
        transport = session._transport_for_url(session._merge_url(url))
        return (transport is not session._transport) is used


@pytest.mark.parametrize(("url", "environment", "used"), USED, ids=str)
def test_the_variables_in_either_case(
    url: str, environment: Environment, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the scheme, else that for all; as the official client has it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert uses_proxy(url) is used
    assert official_agrees(url, used)
    if used:
        assert find_proxy(URL(url)) == URL(PROXY)


@pytest.mark.parametrize(("url", "entries", "direct"), DIRECT, ids=str)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_whom_no_proxy_names(
    url: str, entries: str, direct: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, suffixes, ports, networks and `*`; as the official client has it."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv(name, entries)
    assert uses_proxy(url) is not direct
    assert official_agrees(url, not direct)


def test_the_port_of_a_scheme_is_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry with the port that the URL leaves out is for it all the same."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "hub.example:443")
    assert not uses_proxy(HUB)
    assert uses_proxy("http://hub.example")


@pytest.mark.parametrize("entries", [".hub.example", "*.hub.example", "hub.example."])
def test_a_suffix_is_for_the_name_itself_too(
    entries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As curl has it: who exempts a domain rarely means all of it but its head."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", entries)
    assert not uses_proxy(HUB)
    assert uses_proxy("https://myhub.example")


@pytest.mark.parametrize(
    "value",
    [
        f"socks5://user:{PASSWORD}@proxy.example:1080",
        f"http://user:{PASSWORD}@[::1",
        f"http://user:{PASSWORD}@proxy.example:99999",
        f"http://user:{PASSWORD}@proxy.example:port",
        f"http://user:{PASSWORD}@",
        f"user:{PASSWORD}@:1",
        f"http:///{PASSWORD}",
    ],
)
def test_a_proxy_that_cannot_be_used(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused at once, by the name of its variable, and nothing of it is shown."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(sa.ConfigurationError, match="HTTPS_PROXY") as told:
        sa.SpacesClient(token=False, endpoint=HUB)
    frames = told.value.__traceback__
    assert frames is not None
    printed = traceback.TracebackException(
        type(told.value), told.value, frames.tb_next, capture_locals=True
    )
    assert PASSWORD not in "".join(printed.format())
    sa.SpacesClient(
        token=False, endpoint=HUB, settings=sa.ClientSettings(trust_env=False)
    )


# A real one -------------------------------------------------------------------------


@define(eq=False)
class Proxy:
    """A proxy on loopback that leads every name to one server.

    Attributes:
        target: The port of that server.
        answer: What it says to CONNECT instead; b"" connects.
        heads: The heads of the requests that it got.
    """

    target: int
    answer: bytes = b""
    heads: list[bytes] = field(factory=list[bytes])
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]])

    @property
    def url(self) -> str:
        return f"http://us%40er:{PASSWORD}@127.0.0.1:{self.port}"

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.answer:
            writer.write(self.answer)
            writer.close()
            return
        inner = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            if head.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                async with asyncio.TaskGroup() as group:
                    group.create_task(pump(reader, inner[1]))
                    group.create_task(pump(inner[0], writer))
            else:
                inner[1].write(direct(head) + await body(head, reader))
                answer = await inner[0].readuntil(b"\r\n\r\n")
                whole = answer + await body(answer, inner[0])
                closing = b"\r\nConnection: close\r\n"
                writer.write(whole.replace(b"\r\n", closing, 1))
        except* OSError:
            pass
        finally:
            inner[1].close()
            writer.close()

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self.serve(reader, writer)))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def direct(head: bytes) -> bytes:
    """Make of a request to a proxy what the proxy sends on."""
    first, *lines = head.split(b"\r\n")
    method, url, version = first.split(b" ")
    path = b"/" + url.split(b"/", 3)[3]
    kept = [line for line in lines if not line.lower().startswith(b"proxy-")]
    return b"\r\n".join([b" ".join([method, path, version]), *kept])


async def body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return await reader.readexactly(int(found[1]) if found else 0)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


AUTHORITY: Final = trustme.CA()


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("hub.example").configure_cert(context)
    return context


def trusting() -> aiohttp.ClientSession:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


@asynccontextmanager
async def behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch, *, scheme: str = "https", answer: bytes = b""
) -> AsyncIterator[tuple[Bench, Proxy]]:
    """A Hub whose name only the proxy can resolve."""
    hub = FaultServer(scheme=scheme)
    hub.tls = tls() if scheme == "https" else None
    # Its port is known once it listens, and the client reads the environment then.
    hub.listen()
    proxy = Proxy(hub.port, answer)
    server = await asyncio.start_server(proxy.begin, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
    hub._listener.close()  # type: ignore[union-attr]  # the bench opens it again
    settings = sa.ClientSettings(allow_insecure_http=True, retry=sa.RetryPolicy.off())
    try:
        async with bench(
            settings,
            server=hub,
            endpoint=f"{scheme}://hub.example:{hub.port}",
            session=trusting,
            usable=False,
        ) as rig:
            yield rig, proxy
            if not answer:
                await is_usable(rig.client)
            await proxy.end()
    finally:
        await proxy.end()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_calls_go_through_a_proxy(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its credentials; of https it sees the name of the Hub and nothing else."""
    async with behind_a_proxy(monkeypatch, scheme=scheme) as (rig, proxy):
        for do in (read, write, secret):
            assert (await caught(do(rig.client)))[1] is None
        assert [r.method for r in rig.server.requests] == ["GET", "POST", "POST"]
        basic = base64.b64encode(f"us@er:{PASSWORD}".encode())
        for head in proxy.heads:
            assert b"Proxy-Authorization: Basic " + basic in head
        if scheme == "https":
            assert proxy.heads[0].startswith(b"CONNECT hub.example:")
            assert TOKEN.encode() not in b"".join(proxy.heads)
        for request in rig.server.requests:
            assert f"Authorization: Bearer {TOKEN}".encode() in request.head
            assert PASSWORD.encode() not in request.head
            assert basic not in request.head


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_refuses(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was sent; a wrong password is not tried again, and never shown."""
    caplog.set_level(logging.DEBUG)
    answer = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    async with behind_a_proxy(monkeypatch, answer=answer) as (rig, proxy):
        for do in (read, secret):
            _, error = await caught(do(rig.client))
            assert isinstance(error, sa.ConnectionFailedError)
            assert error.permanent is (status != 502)
            assert str(status) in str(error)
            assert not error.outcome_unknown
            shows_nothing(error, caplog)
        patient = rig.client.with_options(retry=sa.RetryPolicy())
        proxy.heads.clear()
        _, error = await caught(read(patient))
        assert (len(proxy.heads) > 1) is (status == 502)
        assert not rig.server.requests


async def test_a_proxy_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a connection that could not be made; its password is not shown."""
    caplog.set_level(logging.DEBUG)
    with_password = f"http://user:{PASSWORD}@127.0.0.1:9"
    monkeypatch.setenv("HTTPS_PROXY", with_password)
    settings = sa.ClientSettings(retry=sa.RetryPolicy.off())
    async with sa.SpacesClient(token=TOKEN, endpoint=HUB, settings=settings) as client:
        for do in (read, secret):
            _, error = await caught(do(client))
            assert isinstance(error, sa.ConnectionFailedError)
            shows_nothing(error, caplog)
        assert PASSWORD not in repr(client)


@pytest.mark.parametrize("anonymous", [True, False])
@pytest.mark.parametrize("borrowed", [None, False, True])
async def test_netrc_is_never_read(
    anonymous: bool,
    borrowed: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its password goes nowhere, not even where a borrowed session would read it."""
    lines = f"default login someone password {SECRET}\n"
    netrc = tmp_path / ".netrc"
    netrc.write_text(lines, encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    async with FaultServer() as server:
        session = None
        if borrowed is not None:
            session = aiohttp.ClientSession(trust_env=borrowed)
        client = sa.SpacesClient(
            token=False if anonymous else TOKEN, endpoint=server.url, session=session
        )
        async with client:
            await read(client)
        if session is not None:
            await session.close()
        head = server.requests[0].head
    sent = [x for x in head.split(b"\r\n") if x.lower().startswith(b"authorization:")]
    wanted = [] if anonymous else [f"Authorization: Bearer {TOKEN}".encode()]
    assert sent == wanted
    assert base64.b64encode(f"someone:{SECRET}".encode()) not in head


@pytest.mark.parametrize("borrowed", [None, False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_this_host_is_reached_directly(
    host: str, borrowed: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment never sees a token that is meant for this host."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        async with FakeHub() as hub:
            hub.add_space("acme/demo")
            session = None
            if borrowed is not None:
                session = aiohttp.ClientSession(trust_env=borrowed)
            endpoint = hub.url.replace("127.0.0.1", host)
            client = sa.SpacesClient(
                token=hub.token, endpoint=endpoint, session=session
            )
            async with client:
                await client.lifecycle.get_runtime("acme/demo")
            if session is not None:
                await session.close()
            assert hub.count("GET") == 1
        assert not select.select([proxy], [], [], 0)[0]


async def test_an_app_has_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub behind a proxy does not send the probe of an app on this host there."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        async with FakeHub() as hub:
            hub.add_space("acme/demo")
            settings = sa.ClientSettings(app_url=hub.app_url)
            endpoint = "http://hub.example"
            async with sa.SpacesClient(
                token=False, endpoint=endpoint, settings=settings
            ) as client:
                answer = await session_of(client).ask_app("acme-demo", "/", key=None)
        assert answer == 200
        assert not select.select([proxy], [], [], 0)[0]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "https://[::1]", "http://[::ffff:127.0.0.1]:80"]
)
def test_addresses_of_this_host(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host is recognised in each form of its address."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert not uses_proxy(url)
    assert uses_proxy("http://128.0.0.1")


async def test_a_proxy_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used for this host, too, in place of that of the environment."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with FakeHub() as hub:
        hub.add_space("acme/demo")
        proxy = Proxy(int(hub.url.rpartition(":")[2]), b"")
        server = await asyncio.start_server(proxy.begin, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        settings = sa.ClientSettings(proxy=proxy.url, trust_env=False)
        assert PASSWORD not in repr(settings)
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, settings=settings
        ) as client:
            await client.lifecycle.get_runtime("acme/demo")
        assert len(proxy.heads) == hub.count("GET") == 1
        await proxy.end()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("value", ["socks5://u:{}@p:1", "http://u:{}@", 7, "http://["])
def test_a_proxy_of_the_settings_that_cannot_be_used(value: Any) -> None:
    """It is refused when the settings are made, and its password is not shown."""
    value = value.format(PASSWORD) if isinstance(value, str) else value
    with pytest.raises(sa.ConfigurationError, match="proxy") as told:
        sa.ClientSettings(proxy=value)
    assert PASSWORD not in str(told.value)


@pytest.mark.parametrize("how", ["variable", "settings"])
async def test_an_authority_of_ones_own(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE counts also if the program sets it after the import; or ssl=."""
    cafile = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(cafile))
    hub = FaultServer(scheme="https")
    hub.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(hub.tls)
    settings = sa.ClientSettings(retry=sa.RetryPolicy.off())
    async with hub:
        endpoint = f"https://localhost:{hub.port}"
        async with sa.SpacesClient(
            token=TOKEN, endpoint=endpoint, settings=settings
        ) as client:
            _, error = await caught(read(client))
            assert isinstance(error, sa.ConnectionFailedError)
            assert error.permanent
            assert "SSL_CERT_FILE" in str(error)
        if how == "variable":
            monkeypatch.setenv("SSL_CERT_FILE", str(cafile))
        else:
            context = ssl.create_default_context(cafile=cafile)
            settings = sa.ClientSettings(ssl=context)
        async with sa.SpacesClient(
            token=TOKEN, endpoint=endpoint, settings=settings
        ) as client:
            assert (await caught(read(client)))[1] is None


async def test_only_what_is_always_decompressed_is_accepted() -> None:
    """Brotli is not offered: in some versions of its package every answer would fail."""
    async with FakeHub() as hub:
        hub.add_space("acme/demo")
        session = aiohttp.ClientSession(headers={"Accept-Encoding": "br"})
        for borrowed in (None, session):
            async with sa.SpacesClient(
                token=hub.token, endpoint=hub.url, session=borrowed
            ) as client:
                await client.lifecycle.get_runtime("acme/demo")
            assert hub.requests[-1].headers["Accept-Encoding"] == "gzip, deflate"
        await session.close()
