"""The ledger in Redis, with a real server: what is stored, and what happens without it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

import spaces_async as sa
from spaces_async import _redis
from spaces_async._quota import redis_ledger
from spaces_async._quota.blocks import Answer, Block
from spaces_async._quota.ledger import Demand
from spaces_async._quota.take_script import TAKE
from spaces_async._redacted import Redacted
from spaces_async.testing import FakeHub, Quota
from tests.support.redis_server import RedisServer, needs_redis

pytestmark = needs_redis

JOB = Path(__file__).parents[1] / "support" / "ledger_job.py"
PASSWORD = "canary-of-redis"
RIGHTS = [
    "+evalsha",
    "+eval",
    "+hgetall",
    "+hset",
    "+del",
    "+get",
    "+set",
    "+pexpire",
    "+time",
    "+select",
]
"""What docs/quota.md says that the user of Redis needs."""

AT_ONCE = sa.RetryPolicy(max_rate_limit_wait=1.0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path_factory.mktemp("redis"))
    started.start()
    yield started
    started.kill()


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    """A server that runs and is empty."""
    with running.client() as client:
        client.flushall()
    return running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may end."""
    started = RedisServer(tmp_path)
    started.start()
    yield started
    started.kill()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may take long to answer: the machine may be busy."""
    monkeypatch.setattr(redis_ledger, "STORE_SECONDS", 30.0)


@asynccontextmanager
async def hub_of(quota: Quota) -> AsyncGenerator[FakeHub, None]:
    async with FakeHub(quota=quota) as hub:
        hub.add_space("tester/demo")
        yield hub


def client_of(hub: FakeHub, url: str, **options: Any) -> sa.SpacesClient:
    settings = sa.ClientSettings(ledger=url, **options)
    return sa.SpacesClient(token=hub.token, endpoint=hub.url, settings=settings)


async def read(client: sa.SpacesClient, count: int = 1) -> None:
    for _ in range(count):
        await client.lifecycle.get_runtime("tester/demo")


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0)


def refused(hub: FakeHub) -> int:
    return sum(request.status == 429 for request in hub.requests)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [r for r in caplog.records if r.levelno >= logging.WARNING]
    return [r.getMessage() for r in found if r.name.startswith("spaces_async")]


@pytest.mark.usefixtures("patient")
async def test_no_token_goes_to_redis(server: RedisServer) -> None:
    """It holds hashes and numbers, which expire by themselves."""
    async with hub_of(Quota(50, 300.0)) as hub, client_of(hub, server.url) as client:
        await read(client, 3)
        await read(client.with_token(False))
    with server.client() as looker:
        keys = list(looker.scan_iter("*"))
        assert len(keys) == 4
        text = "\n".join(keys)
        for key in keys:
            assert 60_000 < looker.pttl(key) <= 700_000
            text += str(
                looker.hgetall(key) if looker.type(key) == "hash" else looker.get(key)
            )
    for secret in (hub.token, hub.token[3:], "tester", "127.0.0.1"):
        assert secret not in text


@pytest.mark.timeout(120)
@pytest.mark.parametrize("killed", [False, True], ids=["all live", "one is killed"])
async def test_processes_that_share_it_meet_no_429(
    server: RedisServer, killed: bool
) -> None:
    """Three real processes use up window after window of one token; 0 are refused.

    What the one that is killed had taken is void with its window.
    """
    async with FakeHub(quota=Quota(60, 5.0), latency=(0.01, 0.03)) as hub:
        hub.add_space("tester/demo")
        jobs = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(JOB),
                *(hub.url, hub.token, server.url, "30"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(3)
        ]
        for job in jobs:
            assert job.stdout is not None
            assert await job.stdout.readline() == b"ready\n"
        for job in jobs:
            assert job.stdin is not None
            job.stdin.write(b"go\n")
        if killed:
            while len(hub.requests) < 20:
                await asyncio.sleep(0.005)
            jobs[0].kill()
        said = [(await job.communicate())[0] for job in jobs]
        told = [json.loads(line) for line in said if line]
        assert told == [{"done": 30, "failed": 0}] * (2 if killed else 3)
        assert refused(hub) == 0


async def test_a_server_that_was_never_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls go on, alone and carefully; the log says so once, and names no password."""
    url = f"redis://me:{PASSWORD}@127.0.0.1:1/0"
    async with hub_of(Quota(500, 300.0)) as hub, client_of(hub, url) as client:
        with caplog.at_level(logging.DEBUG):
            async with asyncio.TaskGroup() as group:
                for _ in range(40):
                    group.create_task(read(client))
        assert len(hub.requests) == 40
    assert warnings_in(caplog) == [
        (
            "the ledger cannot be used: there is no connection to Redis: connection"
            " refused; pacing without it"
        )
    ]
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures("patient")
async def test_a_wrong_password(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told as what it is, without the password."""
    url = server.url.replace("redis://", f"redis://me:{PASSWORD}@")
    async with hub_of(Quota(500, 300.0)) as hub, client_of(hub, url) as client:
        await read(client, 3)
        assert PASSWORD not in repr(client)
    assert "refused the user or the password" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures("patient")
async def test_a_server_that_dies_and_comes_back(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls go on without it, its end and its return are told once, and it is used."""
    async with (
        hub_of(Quota(5000, 300.0)) as hub,
        client_of(hub, own_server.url) as one,
        client_of(hub, own_server.url) as other,
    ):
        await read(one, 5)
        await read(other, 5)
        own_server.kill()
        await read(one, 30)
        assert len(warnings_in(caplog)) == 1
        own_server.start()
        async with asyncio.timeout(30):
            while "can be used again" not in caplog.text:
                await read(one)
        await read(one, 20)
        await read(other, 5)
        assert len(warnings_in(caplog)) == 2
        assert refused(hub) == 0
    with own_server.client() as looker:
        assert list(looker.scan_iter("*"))


async def test_a_server_that_stands_still(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A call waits for it for a quarter of a second, and none after it was told."""
    caplog.set_level(logging.INFO)
    async with (
        hub_of(Quota(5000, 300.0)) as hub,
        client_of(hub, own_server.url) as client,
    ):
        await read(client, 5)
        own_server.stop()
        try:
            await read(client, 40)
            (warning,) = warnings_in(caplog)
            assert "Redis did not answer within 0.25 s; pacing without it" in warning
        finally:
            own_server.resume()
        async with asyncio.timeout(30):
            while "can be used again" not in caplog.text:
                await read(client)
        assert refused(hub) == 0


@pytest.mark.usefixtures("patient")
async def test_a_server_that_forgot_the_script(server: RedisServer) -> None:
    """The script is sent again."""
    async with hub_of(Quota(500, 300.0)) as hub, client_of(hub, server.url) as client:
        await read(client, 3)
        with server.client() as looker:
            looker.script_flush()
        await read(client, 20)


@pytest.mark.usefixtures("patient")
async def test_a_connection_that_the_server_closed(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An idle connection may be closed: another is opened, and nobody hears of it."""
    async with hub_of(Quota(500, 300.0)) as hub, client_of(hub, server.url) as client:
        await read(client, 3)
        with server.client() as looker:
            looker.client_kill_filter(_type="normal", skipme=True)
        await read(client, 40)
    assert warnings_in(caplog) == []


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", "soon"),
        ("rest", "-5"),
        ("rest", "1e300"),
        ("claims", "nan"),
        ("ends", "0.5"),
        ("others", ""),
        ("hold:restart", "x"),
    ],
)
async def test_a_pool_that_somebody_wrote_to(
    server: RedisServer, caplog: pytest.LogCaptureFixture, field: str, value: str
) -> None:
    """What cannot be a number of the pool begins it anew, and the log says so."""
    async with hub_of(Quota(50, 300.0)) as hub:
        async with client_of(hub, server.url) as client:
            await read(client)
        with server.client() as looker:
            (pool,) = [k for k in looker.scan_iter("*") if looker.type(k) == "hash"]
            looker.hset(pool, field, value)
        async with client_of(hub, server.url, retry=AT_ONCE) as client:
            await read(client, 3)
        assert refused(hub) == 0
    assert caplog.text.count("starts from scratch") == 1


@pytest.mark.usefixtures("patient")
async def test_a_pool_that_promises_too_much(server: RedisServer) -> None:
    """A pool that grants what the Hub does not have makes no client send more than it has."""
    async with hub_of(Quota(5, 300.0)) as hub:
        async with client_of(hub, server.url) as client:
            await read(client)
        with server.client() as looker:
            (pool,) = [k for k in looker.scan_iter("*") if looker.type(k) == "hash"]
            looker.hset(pool, mapping={"rest": 10**6, "left": 10**6, "limit": 10**6})
        async with client_of(hub, server.url, retry=AT_ONCE) as client:
            tasks = [asyncio.create_task(read(client)) for _ in range(30)]
            await asyncio.wait(tasks)
            errors = [task.exception() for task in tasks]
        assert errors.count(None) == 4
        assert {type(e) for e in errors if e is not None} == {sa.RateLimitError}
        assert refused(hub) == 0


@pytest.mark.usefixtures("patient")
async def test_a_key_of_another_kind(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool that cannot be read at all is told once, and calls go on."""
    async with hub_of(Quota(50, 300.0)) as hub:
        async with client_of(hub, server.url) as client:
            await read(client)
        with server.client() as looker:
            (pool,) = [k for k in looker.scan_iter("*") if looker.type(k) == "hash"]
            looker.delete(pool)
            looker.rpush(pool, "x")
        async with client_of(hub, server.url) as client:
            await read(client, 3)
    assert len(warnings_in(caplog)) == 1
    assert "answered with an error (WRONGTYPE)" in caplog.text


@pytest.mark.usefixtures("patient")
async def test_an_exchange_that_is_repeated_takes_nothing_twice(
    server: RedisServer,
) -> None:
    """The same number gets the same calls, and the pool gives them once."""
    store = _redis.RedisServer(Redacted(server.url), "ledger", seconds=30.0)
    block, keys = Block(), ("pool", "pool:host")

    async def ask(demand: Demand) -> Answer:
        asked = block.ask(demand, 0.0)
        return Answer.read(await store.run(TAKE, keys, *asked.arguments()), asked)

    probe = await ask(Demand(3, 0, 0, 0.0))
    assert (probe.granted, probe.rest) == (1, None)
    block.note(probe, 0.0)
    block.unspent = 0
    block.own.left, block.own.ends, block.own.limit = 400, 200.0, 500
    first = await ask(Demand(16, 0, 0, 0.0))
    again = await ask(Demand(16, 0, 0, 0.0))
    assert (first.granted, first.rest) == (16, 384)
    assert (again.granted, again.rest) == (16, 384)
    await store.aclose()


async def test_an_exchange_that_is_cancelled_leaves_no_answer_behind(
    own_server: RedisServer,
) -> None:
    """What Redis answers to it later is not taken for the answer to the next one."""
    store = _redis.RedisServer(Redacted(own_server.url), "ledger", seconds=30.0)
    echo = "return {ARGV[1]}"
    for turns in range(12):
        assert await store.run(echo, (), "before") == ["before"]
        own_server.stop()
        asking = asyncio.create_task(store.run(echo, (), "cancelled"))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()
        own_server.resume()
        assert await store.run(echo, (), "after") == ["after"]
    await store.aclose()


async def test_an_exchange_that_took_too_long_leaves_no_answer_behind(
    own_server: RedisServer,
) -> None:
    """It ends in its time, and so does the next one, which has a new connection."""
    store = _redis.RedisServer(Redacted(own_server.url), "ledger", seconds=1.5)
    echo, loop = "return {ARGV[1]}", asyncio.get_running_loop()
    assert await store.run(echo, (), "before") == ["before"]
    own_server.stop()
    for word in ("late", "as late"):
        began = loop.time()
        with pytest.raises(_redis.RedisAwayError, match=r"within 1\.5 s"):
            await store.run(echo, (), word)
        assert loop.time() - began >= 1.5
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    own_server.resume()
    store._seconds = 30.0
    assert await store.run(echo, (), "after") == ["after"]
    await store.aclose()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://127.0.0.1:{closed}", "no connection to Redis: connection refused"),
        ("redis://nobody.invalid", "the name of its host is not known"),
        ("redis://127.0.0.1:{web}", "what answers there is not Redis"),
        ("redis://127.0.0.1:{tls}", "no connection to Redis"),
        ("rediss://127.0.0.1:{tls}", "its certificate is not trusted"),
        ("rediss://127.0.0.1:{tls}?ssl_ca_certs=/nobody", "a file that the URL names"),
        ("unix:///nobody", "a file that the URL names is not there"),
    ],
)
async def test_why_there_is_no_connection(url: str, why: str) -> None:
    """What is wrong with a URL, or a network, is said in words of our own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    ports: dict[str, int] = {}
    async with AsyncExitStack() as stack:
        for name in ("web", "tls", "closed"):
            tls = context if name == "tls" else None
            server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
            ports[name] = server.sockets[0].getsockname()[1]
            if name == "closed":
                server.close()
            else:
                await stack.enter_async_context(server)
        store = _redis.RedisServer(
            Redacted(url.format(**ports)), "ledger", seconds=30.0
        )
        with pytest.raises(_redis.RedisAwayError, match=why) as told:
            await store.run("return {}", ())
        assert "nobody" not in str(told.value)
        await store.aclose()


async def test_exchanges_at_the_same_time_each_get_their_own_answer(
    server: RedisServer,
) -> None:
    """Each has a connection of its own meanwhile, and there are eight at most."""
    store = _redis.RedisServer(Redacted(server.url), "store", seconds=30.0)
    echo = "return {ARGV[1], KEYS[1]}"
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(store.run(echo, ("ä",), n)) for n in range(50)]
    assert [task.result() for task in asked] == [[str(n), "ä"] for n in range(50)]
    with server.client() as looker:
        assert len(looker.client_list()) == 1 + 8
    await store.aclose()


@pytest.mark.usefixtures("patient")
async def test_a_clock_that_was_set_back(server: RedisServer) -> None:
    """A window that seems to last for hours is forgotten."""
    async with hub_of(Quota(1, 300.0)) as hub:
        async with client_of(hub, server.url) as client:
            await read(client)
        with server.client() as looker:
            (pool,) = [k for k in looker.scan_iter("*") if looker.type(k) == "hash"]
            hour = 3_600_000
            for field in ("at", "ends", "window"):
                looker.hincrby(pool, field, hour)
            async with client_of(hub, server.url, retry=AT_ONCE) as client:
                with pytest.raises(sa.RateLimitError) as caught:
                    await read(client)
    assert (caught.value.retry_after or 0) < 400


@pytest.mark.usefixtures("patient")
async def test_a_closed_client_leaves_no_connection(server: RedisServer) -> None:
    """It gives back what it does not need, and closes its connections."""
    async with hub_of(Quota(500, 300.0)) as hub:
        async with client_of(hub, server.url) as client:
            await asyncio.gather(*[read(client, 9) for _ in range(4)])  # noqa: TID251
        with server.client() as looker:
            assert len(looker.client_list()) == 1
            (pool,) = [k for k in looker.scan_iter("*") if looker.type(k) == "hash"]
            assert looker.hget(pool, "rest") == str(500 - 36)
            assert looker.hget(pool, "claims") == "0"


@pytest.mark.usefixtures("patient")
def test_a_client_is_closed_after_its_loop_has_stopped(server: RedisServer) -> None:
    """Nothing waits for a loop that does not run any more."""
    loop = asyncio.new_event_loop()
    hub = FakeHub()
    loop.run_until_complete(hub.__aenter__())
    hub.add_space("tester/demo")
    client = client_of(hub, server.url)
    loop.run_until_complete(read(client))
    asyncio.run(client.aclose())
    assert client.closed
    loop.run_until_complete(hub.__aexit__(None, None, None))
    loop.close()
    with server.client() as looker:
        # The server needs a moment to notice.
        while len(looker.client_list()) > 1:
            pass


@pytest.mark.usefixtures("patient")
async def test_clients_in_several_loops(server: RedisServer) -> None:
    """Each has connections of its own, and all share the quota."""
    async with hub_of(Quota(40, 300.0)) as hub:
        # Threads that import the same modules at once wait for each other.
        await client_of(hub, server.url).aclose()

        async def some() -> None:
            async with client_of(hub, server.url) as client:
                await read(client, 10)

        threads = [
            threading.Thread(target=asyncio.run, args=(some(),)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        await until(lambda: not any(thread.is_alive() for thread in threads))
        assert len(hub.requests) == 40
        assert refused(hub) == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
@pytest.mark.usefixtures("patient")
async def test_tasks_that_begin_at_once(server: RedisServer) -> None:
    """A block is asked for also where a task runs before the call that needs it waits."""
    eager: Any = asyncio.eager_task_factory  # type: ignore[attr-defined, unused-ignore]
    asyncio.get_running_loop().set_task_factory(eager)
    async with hub_of(Quota(50, 300.0)) as hub, client_of(hub, server.url) as client:
        async with asyncio.timeout(30):
            await read(client, 5)
        assert len(hub.requests) == 5


async def test_a_cancel_while_a_client_closes(server: RedisServer) -> None:
    """No connection to Redis is left, at whatever turn it comes."""
    for turns in range(8):
        async with hub_of(Quota(50, 300.0)) as hub:
            is_closing = asyncio.Event()

            async def work(hub: FakeHub, is_closing: asyncio.Event) -> None:
                async with client_of(hub, server.url) as client:
                    await read(client)
                    is_closing.set()

            task = asyncio.create_task(work(hub, is_closing))
            await is_closing.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait((task,))
        with server.client() as looker:
            await until(lambda: len(looker.client_list()) == 1)


_FORKS = """
import asyncio, os, sys
import spaces_async as sa
from spaces_async._quota import redis_ledger
redis_ledger.STORE_SECONDS = 30.0
settings = sa.ClientSettings(ledger=sys.argv[3], reserve=0.0)
client = sa.SpacesClient(token=sys.argv[2], endpoint=sys.argv[1], settings=settings)
child = os.fork()

async def work():
    async with client:
        for _ in range(10):
            await client.lifecycle.get_runtime("tester/demo")

asyncio.run(work())
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    print("done")
"""


async def test_a_client_that_was_made_before_a_fork(server: RedisServer) -> None:
    """Parent and child are two hosts, with connections and blocks of their own."""
    async with hub_of(Quota(20, 300.0)) as hub:
        job = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", _FORKS, hub.url, hub.token, server.url),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await job.communicate()
        assert said == b"done\n"
        assert len(hub.requests) == 20
        assert refused(hub) == 0
    with server.client() as looker:
        assert len(list(looker.scan_iter("*:*:*:*:*"))) == 2


@pytest.mark.usefixtures("patient")
async def test_other_ways_to_redis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A Unix socket; TLS with a certificate that only the URL trusts, and few rights."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    ca, pem, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    certificate.cert_chain_pems[0].write_to_path(pem)
    certificate.private_key_pem.write_to_path(key)
    server = RedisServer(tmp_path)
    tls_port = RedisServer(tmp_path).port
    server.options = (
        *("--tls-port", str(tls_port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(pem), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(ca)),
    )
    server.start()
    try:
        with server.client() as looker:
            looker.acl_setuser(
                "me",
                enabled=True,
                passwords=[f"+{PASSWORD}"],
                keys=["spaces_async:quota:*"],
                commands=RIGHTS,
            )
        for url in (
            f"unix://{server.socket}?db=1",
            f"rediss://me:{PASSWORD}@localhost:{tls_port}/1?ssl_ca_certs={ca}",
        ):
            async with hub_of(Quota(50, 300.0)) as hub, client_of(hub, url) as client:
                await read(client, 3)
            assert warnings_in(caplog) == []
            with server.client() as looker:
                looker.select(1)
                assert looker.dbsize() >= 2
                looker.flushall()
    finally:
        server.kill()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that cannot use the ledger is not made."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in ("spaces_async._quota.redis_ledger", "spaces_async._redis"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    settings = sa.ClientSettings(ledger="redis://localhost")
    with pytest.raises(sa.ConfigurationError, match=r"spaces-async\[redis\]"):
        sa.SpacesClient(token="hf_x", settings=settings)


def test_redis_is_imported_only_when_it_is_asked_for(tmp_path: Path) -> None:
    """A client without that ledger does not load redis-py."""
    program = (
        "import sys, spaces_async as sa;"
        "sa.SpacesClient(token='hf_x', settings=sa.ClientSettings(ledger=sys.argv[1]));"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'redis']"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "ledger")],
        check=True,
        env={**os.environ, "HF_TOKEN_PATH": str(tmp_path / "none")},
    )


async def test_what_nobody_asked_for_is_no_answer() -> None:
    """A proxy that shuts down may say so, or close the connection, before it is asked."""
    unasked = [b"*1\r\n+stale\r\n", b"-ERR shutting down\r\n", None]

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while head := await reader.readline():
            parts = [
                (await reader.readline(), await reader.readline())[1].strip()
                for _ in range(int(head[1:]))
            ]
            if parts[0] != b"HMGET":
                writer.write(b"+OK\r\n")
                continue
            more = unasked.pop(0) if unasked else b""
            writer.write(b"*1\r\n+%b\r\n%b" % (parts[2], more or b""))
            if more is None:
                break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = Redacted(f"redis://127.0.0.1:{port}/0")
        server = _redis.RedisServer(url, "ledger", seconds=5.0)
        for name in ("one", "two", "three", "four"):
            assert await server.fields("key", name) == [name]
        await server.aclose()
