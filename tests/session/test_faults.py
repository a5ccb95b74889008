"""The fault matrix: one broken answer after the other, over real sockets.

`tests/support/faults_table.py` has the rows and what is wanted of each, `docs/what-happens-when.md`
says the same to users.
"""

from __future__ import annotations

import ast
import asyncio
import ctypes
import fcntl
import logging
import os
import re
import select
import shutil
import socket
import ssl
import struct
import subprocess
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import trustme

import spaces_async as sa
from spaces_async._clock import Clock
from spaces_async.testing import ManualClock
from tests.support.fault_server import FaultServer, close, reply, reset, send, stall
from tests.support.faults_bench import (
    ROUTES,
    SECRET,
    TOKEN,
    Bench,
    Do,
    bench,
    caught,
    is_usable,
    make_settings,
    read,
    restart,
    secret,
    shows_nothing,
    write,
)
from tests.support.faults_table import (
    ELSEWHERE,
    MANY,
    MIB,
    QUICK,
    READS,
    ROWS,
    WRITES,
    Counts,
    Row,
    Want,
    error_body,
    runtime,
)

pytestmark = pytest.mark.unmeasured


def rows() -> list[Any]:
    return [pytest.param(row, id=row.id) for row in ROWS]


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What the most talkative configuration would write, the tests look at."""
    caplog.set_level(logging.DEBUG)


async def prepare(
    rig: Bench, row: Row, do: Do, *, times: int | None = None, acted: bool = False
) -> None:
    """Break the route; a warm row has its connection first."""
    rig.server.heal()
    rig.server.stages.clear()
    rig.later()
    if row.warm:
        await rig.off.lifecycle.get_runtime("acme/warm")
    rig.server.requests.clear()
    rig.server.fault(ROUTES[do], row.script, times=times, acted=acted)


async def again(rig: Bench) -> None:
    """Let the client meet a healthy Hub in between."""
    rig.server.heal()
    rig.later()
    await is_usable(rig.client)


def judge(want: Want, result: Any, error: sa.SpacesError | None) -> None:
    """See whether a call ended as wanted."""
    if want.error is None:
        assert error is None
        assert isinstance(result, sa.SpaceRuntime)
        return
    assert type(error) is want.error, f"{error!r}"
    said = str(error)
    assert "\n" not in said
    for text in want.says:
        assert text in said
    for text in want.hides:
        assert text not in said


def counted(rig: Bench, do: Do, expected: int, want: Want) -> None:
    seen = rig.server.count(ROUTES[do])
    if expected == MANY:
        assert seen > 1
    else:
        assert seen == expected * want.requests


async def once_only(row: Row, do: Do, want: Want, counts: Counts) -> None:
    """Without retries there is one request, and the error says what is known."""
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, do)
        before = rig.clock.monotonic()
        result, error = await caught(do(rig.off))
        judge(want, result, error)
        counted(rig, do, counts.off, want)
        assert set(rig.server.routes()) == {ROUTES[do]}
        if row.warm:
            assert {r.connection for r in rig.server.requests} == {1}
        if row.quiet:
            assert rig.clock.monotonic() == before
        if error is not None:
            assert error.outcome_unknown is (want.kind in ("C", "D") and do is not read)
            assert getattr(error, "attempts", None) == want.requests


@pytest.mark.parametrize("row", rows())
async def test_a_read(row: Row) -> None:
    """A read that goes wrong is one request and one typed error."""
    await once_only(row, read, row.read, READS[row.read.kind])


@pytest.mark.parametrize("row", rows())
async def test_a_write(row: Row) -> None:
    """A write that goes wrong is one request, and the error says what is known."""
    await once_only(row, write, row.write, WRITES[row.write.kind])


async def with_retries(row: Row, do: Do, want: Want, counts: Counts) -> None:
    """Let it go wrong each time, then once, then after the Hub has acted."""
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, do)
        result, error = await caught(do(rig.client))
        counted(rig, do, counts.always, want)
        if counts.recovers:
            assert error is None
            assert isinstance(result, sa.SpaceRuntime)
        else:
            judge(want, result, error)
            assert error is not None
            # A Hub that was only too slow may still act, whatever a look has shown.
            too_slow = isinstance(error, sa.RequestTimeoutError) and want.kind == "C"
            assert error.outcome_unknown is (too_slow and do is write)
        if want.requests == 1:
            await again(rig)
            await prepare(rig, row, do, times=1)
            result, error = await caught(do(rig.client))
            counted(rig, do, counts.once, want)
            assert (error is None) is (counts.recovers or counts.once > 1)
        if do is write and want.kind in ("C", "D"):
            await again(rig)
            await prepare(rig, row, do, acted=True)
            runtime = await rig.client.lifecycle.pause("acme/demo")
            assert runtime.stage is sa.SpaceStage.PAUSED
            counted(rig, do, 1, want)


@pytest.mark.parametrize("row", rows())
async def test_a_read_is_tried_again(row: Row) -> None:
    """What may be over the next time is tried again, and nothing else is."""
    await with_retries(row, read, row.read, READS[row.read.kind])


@pytest.mark.parametrize("row", rows())
async def test_a_write_is_tried_again(row: Row) -> None:
    """A write is sent again only where nothing happened; what took effect is found."""
    await with_retries(row, write, row.write, WRITES[row.write.kind])


@pytest.mark.parametrize("row", rows())
async def test_a_secret_is_never_shown(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the token nor a secret's value is in anything that can be printed."""
    async with bench(make_settings(row)) as rig:
        for do in (read, secret):
            await prepare(rig, row, do)
            _, error = await caught(do(rig.off))
            if error is not None:
                shows_nothing(error, caplog)


# --- Faults that need more than a script. -------------------------------------------

ALL: Final = (read, write, restart, secret)


class Eventful(ManualClock):
    """A clock that lets something happen while the client waits."""

    def __init__(self) -> None:
        super().__init__(auto=True)
        self.meanwhile: Callable[[], None] = lambda: None
        self.after = 2

    async def sleep(self, seconds: float) -> None:
        if len(self.slept) == self.after:
            self.meanwhile()
        await super().sleep(seconds)


def never_sent(error: sa.SpacesError | None, kind: type[sa.SpacesError]) -> None:
    assert type(error) is kind
    assert not error.outcome_unknown
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("do", ALL)
async def test_nobody_listens(do: Do, caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection sent nothing: any call is tried again until its time is up."""
    clock = Eventful()
    async with bench(clock=clock) as rig:
        await rig.server.refuse()
        _, error = await caught(do(rig.off))
        never_sent(error, sa.ConnectionFailedError)
        assert isinstance(error, sa.ConnectionFailedError)
        assert error.request_id is None
        shows_nothing(error, caplog)
        _, error = await caught(do(rig.client))
        never_sent(error, sa.ConnectionFailedError)
        assert isinstance(error, sa.ConnectionFailedError)
        assert error.attempts > 3
        assert clock.monotonic() <= 60.0
        clock.slept.clear()

        def up() -> None:
            rig.server.listen()
            rig.server.accept()

        clock.meanwhile = up
        assert (await caught(do(rig.client)))[1] is None
        assert rig.server.count(ROUTES[do]) == 1
        assert len(rig.server.requests) == 1


@pytest.mark.parametrize("do", ALL)
async def test_a_connection_that_is_never_accepted(do: Do) -> None:
    """Whoever drops our SYN is given up after the time to connect; nothing was sent."""
    clock = Eventful()
    clock.after = 0
    server = FaultServer(backlog=0, accepting=False)
    settings = make_settings(timeouts={"connect": QUICK, "read": 5.0})
    async with bench(settings, clock=clock, server=server) as rig:
        fillers = fill(server.port)
        try:
            if not fillers:
                pytest.skip("the backlog of a listening socket cannot be filled here")
            _, error = await caught(do(rig.off))
            never_sent(error, sa.RequestTimeoutError)
            assert isinstance(error, sa.RequestTimeoutError)
            assert error.phase == "connect"
            clock.meanwhile = server.accept
            assert (await caught(do(rig.client)))[1] is None
            assert rig.server.count(ROUTES[do]) == 1
        finally:
            for sock in fillers:
                sock.close()
            if server.accepting is False and not server.connections:
                server.accept()


def fill(port: int) -> list[socket.socket]:
    """Take every place of a backlog; an empty list if it does not get full."""
    fillers: list[socket.socket] = []
    for _ in range(20):
        sock = socket.socket()
        sock.setblocking(False)
        fillers.append(sock)
        sock.connect_ex(("127.0.0.1", port))
        if not select.select([], [sock], [], QUICK)[1]:
            return fillers
    for sock in fillers:
        sock.close()
    return []


@pytest.mark.parametrize("do", ALL)
async def test_reset_on_accept(do: Do) -> None:
    """A connection that dies at once: a write in doubt is looked after, then sent."""
    async with bench() as rig:
        rig.server.greeting = (reset,)
        _, error = await caught(do(rig.off))
        assert isinstance(error, sa.ConnectionLostError | sa.ConnectionFailedError)
        lost = isinstance(error, sa.ConnectionLostError)
        assert error.outcome_unknown is (lost and do is not read)
        assert rig.server.connections == 1
        rig.server.greetings = 1
        assert (await caught(do(rig.client)))[1] is None
        assert rig.server.count(ROUTES[do]) == 1


def pooled(rig: Bench) -> list[Any]:
    """Return the connections that wait in the pool."""
    session = rig.client._session._shared.transport._session
    assert session is not None
    assert session.connector is not None
    waiting = [c for conns in session.connector._conns.values() for c, _ in conns]
    return [connection for connection in waiting if connection.is_connected()]


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("how", [close, reset], ids=["fin", "rst"])
@pytest.mark.parametrize("do", ALL)
async def test_an_idle_connection_that_was_closed(do: Do, how: Any) -> None:
    """The Hub closes an idle connection: the next call takes a new one, unharmed."""
    async with bench() as rig:
        await rig.client.lifecycle.get_runtime("acme/warm")
        assert pooled(rig)
        await how(rig.server.peers[0])
        while pooled(rig):
            await asyncio.sleep(0)
        rig.server.requests.clear()
        assert (await caught(do(rig.off)))[1] is None
        assert [r.connection for r in rig.server.requests] == [2]


UNASKED: Final = {
    "reply": reply(body=runtime(path="smuggled", stage="DREAMING")),
    "timeout": reply(408, error_body("idle for too long")),
    "garbage": b"garbage",
}


@pytest.mark.parametrize(
    ("do", "name"),
    [
        pytest.param(read, "reply", marks=()),
        pytest.param(read, "timeout", marks=()),
        (read, "garbage"),
        pytest.param(write, "reply", marks=()),
        (write, "timeout"),
        (write, "garbage"),
    ],
)
async def test_what_comes_unasked_is_nobodys_answer(do: Do, name: str) -> None:
    """Bytes that arrive on an idle connection are not taken for the next answer (#13)."""
    async with bench() as rig:
        await rig.client.lifecycle.get_runtime("acme/warm")
        await rig.server.peers[0].write(UNASKED[name])
        await turns()
        rig.server.requests.clear()
        result, error = await caught(do(rig.client))
        assert error is None
        assert result.raw["path"] != "smuggled"
        assert rig.server.count(ROUTES[do]) == 1


async def test_the_deadline_is_kept() -> None:
    """A call with all its attempts ends when its total time does, to 50 ms (#6)."""
    loop = asyncio.get_running_loop()
    settings = make_settings(timeouts={"read": 5.0, "total": 1.0})
    late = []
    async with bench(settings, clock=Clock()) as rig:
        for do in (read, write, read):
            rig.server.fault(ROUTES[do], (stall,))
            before = loop.time()
            _, error = await caught(do(rig.client))
            late.append(loop.time() - before - 1.0)
            assert isinstance(error, sa.RequestTimeoutError)
            assert error.phase == "total"
            assert error.outcome_unknown is (do is write)
            rig.server.heal()
    # The machine may be busy once, but not always.
    assert 0.0 <= min(late) < 0.05


_CLONE_NEWNET: Final = 0x40000000
_SIOCSIFFLAGS: Final = 0x8914


def set_loopback(*, up: bool) -> None:
    """Plug the cable of the loopback device in, or pull it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", int(up)))


@pytest.fixture
def own_network() -> Iterator[None]:
    """Give this thread a network of its own, with nothing but a loopback device."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            pytest.skip("a network namespace needs root")
        set_loopback(up=True)
        yield
    finally:
        libc.setns(home, _CLONE_NEWNET)
        os.close(home)


@pytest.mark.parametrize("do", ALL)
@pytest.mark.usefixtures("own_network")
async def test_a_cable_that_is_pulled(do: Do) -> None:
    """Every packet gets lost for a while: the call ends in time, or goes on after (#6)."""
    clock = Eventful()
    clock.after = 0
    settings = make_settings(timeouts={"connect": 2 * QUICK, "read": 3 * QUICK})
    async with bench(settings, clock=clock) as rig:
        await rig.client.lifecycle.get_runtime("acme/warm")
        set_loopback(up=False)
        _, error = await caught(do(rig.off))
        assert type(error) is sa.RequestTimeoutError
        assert error.phase == "read"
        assert error.outcome_unknown is (do is not read)
        # The next attempt does not even get a connection.
        clock.meanwhile = lambda: set_loopback(up=True)
        assert (await caught(do(rig.client)))[1] is None


LOSSY: Final = {
    # One packet in ten, by chance; and all that do not fit into a short queue.
    "chance": ("netem", "loss", "10%"),
    "queue": ("tbf", "rate", "1mbit", "burst", "1600", "limit", "1600"),
}
DROPPED: Final = re.compile(r"\(dropped (\d+),")


def traffic_control(*words: str) -> str:
    """Run `tc` for the loopback device of this thread's network."""
    tool = shutil.which("tc") or "tc"
    done = subprocess.run([tool, *words], capture_output=True, text=True, check=True)
    return done.stdout


def dropped() -> int:
    """Return how many packets were lost so far."""
    shown = traffic_control("-s", "qdisc", "show", "dev", "lo")
    return sum(int(count) for count in DROPPED.findall(shown))


@pytest.fixture(params=LOSSY)
def lossy_network(request: pytest.FixtureRequest, own_network: None) -> None:
    """Lose packets in a network of our own, for real."""
    queue = LOSSY[request.param]
    if shutil.which("tc") is None:
        pytest.skip("there is no tc to lose packets with")
    try:
        traffic_control("qdisc", "add", "dev", "lo", "root", *queue)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel has no {queue[0]}: {error.stderr.strip()}")


@pytest.mark.usefixtures("lossy_network")
async def test_packets_that_get_lost() -> None:
    """TCP sends lost packets again: each call has its result, and was sent once (#2)."""
    settings = make_settings(timeouts={"connect": 20.0, "read": 20.0})
    calls = 0
    async with bench(settings, clock=Clock()) as rig:
        while not dropped():
            calls += 8
            assert calls < 200, "no packet gets lost"
            async with asyncio.TaskGroup() as group:
                for do in ALL * 8:
                    group.create_task(do(rig.client))
            assert [rig.server.count(ROUTES[do]) for do in ALL] == [calls] * 4


# --- Large answers. -----------------------------------------------------------------

LARGE: Final = [row for row in ROWS if row.number in (18, 22, 23)]
ENDLESS: Final = [row for row in ROWS if row.number == 23]


@pytest.mark.parametrize("row", LARGE, ids=lambda row: row.id)
async def test_a_large_answer_takes_little_memory(row: Row) -> None:
    """Whatever a server sends, an answer takes its cap and at most 16 MiB more."""
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, read)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            assert (await caught(read(rig.off)))[1] is not None
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - before <= MIB + 16 * MIB


@pytest.mark.parametrize("row", ENDLESS, ids=lambda row: row.id)
async def test_an_endless_answer_ends_soon(row: Row) -> None:
    """No more of it is taken than the cap and what lies in buffers by then."""
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, read)
        assert (await caught(read(rig.off)))[1] is not None
        assert MIB < rig.server.flooded <= MIB + 16 * MIB


@pytest.mark.parametrize("how", [close, reset], ids=["fin", "rst"])
async def test_a_large_secret_that_is_refused_early(
    how: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A 413 before the body was read is told as such, and not as a lost connection (#43)."""
    async with bench() as rig:
        rig.server.early = True
        script = (send(reply(413, error_body("too large"))), how)
        rig.server.fault("POST /secrets", script)
        value = SECRET * 40_000  # over the buffers of a socket, below 1 MiB
        _, error = await caught(rig.off.config.add_secret("acme/demo", "KEY", value))
        assert isinstance(error, sa.HubResponseError)
        assert error.status == 413
        assert error.message == "too large"
        assert not error.outcome_unknown
        shows_nothing(error, caplog)
        assert rig.server.count("POST /secrets") == 1
        while pooled(rig):
            await asyncio.sleep(0)


async def test_a_secret_over_a_mebibyte() -> None:
    """A body is sent whatever its size, without a warning."""
    async with bench() as rig:
        await rig.off.config.add_secret("acme/demo", "KEY", SECRET * 50_000)


ECHOES: Final = {
    "400": (400, "", "bad value {}"),
    "500": (500, "", "bad value {}"),
    "200": (200, "", "bad value {}"),
    "redirect": (307, "Location: /x/{}", ""),
    "request-id": (400, "X-Request-Id: {}", ""),
    "message": (400, "X-Error-Message: {}", ""),
    "code": (400, "X-Error-Code: {}", ""),
}


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize("canary", [TOKEN, SECRET], ids=["token", "secret"])
async def test_a_server_that_echoes_a_secret(
    canary: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that quotes the token or a secret does not get it into our errors (#57)."""
    status, header, text = ECHOES[name]
    headers = [header.format(canary).encode()] if header else []
    body = error_body(text.format(canary)) if text else b""
    do = read if name == "200" and canary == TOKEN else secret
    async with bench() as rig:
        rig.server.fault(ROUTES[do], (send(reply(status, body, *headers)),))
        _, error = await caught(do(rig.off))
        rig.server.heal()
        assert error is not None
        shows_nothing(error, caplog)


@pytest.mark.parametrize("status", [404, 429, 503])
async def test_an_error_that_breaks_off_keeps_its_headers(status: int) -> None:
    """They say what happened and how long to wait, whatever became of the body."""
    headers = b"Retry-After: 7", b'RateLimit: "api";r=9;t=7', b"Connection: close"
    whole = reply(status, error_body("no"), *headers)
    seen: list[tuple[Any, ...]] = []
    for answer in (whole, whole[:-3]):
        async with bench() as rig:
            rig.server.fault(ROUTES[restart], (send(answer), close))
            _, error = await caught(restart(rig.off))
            rig.server.heal()
            assert isinstance(error, sa.HubResponseError)
            quota = rig.off.rate_limit().remaining
            seen.append((type(error), error.retry_after, error.outcome_unknown, quota))
    assert seen[0] == seen[1]
    assert seen[0][1:] == (7.0, False, 9)


async def test_garbage_that_quotes_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """What is no HTTP may hold anything, so it is in no error and no log (#57)."""
    async with bench() as rig:
        garbage = f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        rig.server.fault("GET /runtime", (send(garbage), close))
        _, error = await caught(read(rig.client))
        rig.server.heal()
        assert error is not None
        shows_nothing(error, caplog)


# --- Waiting. -----------------------------------------------------------------------

NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
BLIND: Final = (0.0, 3.0)


def http_date(instant: datetime) -> str:
    return format_datetime(instant, usegmt=True)


RETRY_AFTER: Final[dict[str, tuple[tuple[str, ...], tuple[float, float]]]] = {
    "seconds": (("Retry-After: 7",), (7, 7)),
    "zero": (("Retry-After: 0",), (0, 0)),
    "fraction": (("Retry-After: 1.5",), (1.5, 1.5)),
    "negative": (("Retry-After: -5",), (0, 0)),
    "huge": (("Retry-After: 1e34",), (86_400, 86_400)),
    "infinite": (("Retry-After: inf",), (86_400, 86_400)),
    "nan": (("Retry-After: nan",), BLIND),
    "garbage": (("Retry-After: soon",), BLIND),
    "empty": (("Retry-After:",), BLIND),
    "two": (("Retry-After: 9", "Retry-After: 5"), (5, 9)),
    "date": (
        (
            f"Retry-After: {http_date(NOON + timedelta(seconds=20))}",
            f"Date: {http_date(NOON)}",
        ),
        (20, 20),
    ),
    "date-of-another-day": (
        (
            f"Retry-After: {http_date(NOON - timedelta(days=1, seconds=-20))}",
            f"Date: {http_date(NOON - timedelta(days=1))}",
        ),
        (20, 20),
    ),
    "date-gone-by": (
        (
            f"Retry-After: {http_date(NOON - timedelta(seconds=20))}",
            f"Date: {http_date(NOON)}",
        ),
        (0, 0),
    ),
    "date-alone": (
        (f"Retry-After: {http_date(NOON + timedelta(seconds=20))}",),
        (18, 20),
    ),
    "no-date": (("Retry-After: Fri, 99 Foo 2026 99:99:99 GMT",), BLIND),
}


@pytest.mark.parametrize("name", RETRY_AFTER)
@pytest.mark.parametrize("do", [read, restart])
async def test_retry_after_in_all_its_forms(do: Do, name: str) -> None:
    """Whatever a 429 says, the wait is what it means, finite, and not for ever."""
    headers, (least, most) = RETRY_AFTER[name]
    answer = reply(429, error_body("slow down"), *(h.encode() for h in headers))
    clock = ManualClock(NOON, auto=True)
    async with bench(make_settings(), clock=clock) as rig:
        rig.server.fault(ROUTES[do], (send(answer),), times=1)
        _, error = await caught(do(rig.client))
        waited = clock.monotonic()
        if most > 60:  # longer than the call may take
            assert isinstance(error, sa.RateLimitError)
            assert error.retry_after == pytest.approx(most, abs=1)
            assert error.attempts == 1
            assert waited == 0.0
        else:
            assert error is None
            assert least <= waited <= most + 0.1
            assert rig.server.count(ROUTES[do]) == 2
        rig.later()
        rig.server.fault(ROUTES[do], (send(answer),), times=1)
        _, error = await caught(do(rig.off))
        assert isinstance(error, sa.RateLimitError)
        assert not error.outcome_unknown
        if (least, most) == BLIND or name == "date-alone":
            return
        assert error.retry_after is not None
        assert least <= error.retry_after <= most


async def test_absurd_windows_fail_fast() -> None:
    """A 429 whose window ends in the year 33000 is told at once, finite (#41)."""
    header = b'RateLimit: "api";r=0;t=1000000000000'
    async with bench() as rig:
        rig.server.fault("GET /runtime", (send(reply(429, b"", header)),))
        _, error = await caught(read(rig.client))
        assert isinstance(error, sa.RateLimitError)
        assert error.attempts == 1
        assert error.retry_after is not None
        assert error.retry_after <= 86_402.0
        assert rig.clock.monotonic() == 0.0


class Jumping(Eventful):
    """A wall clock that is wrong, and that somebody sets while the client waits."""

    def __init__(self, wrong: timedelta) -> None:
        super().__init__()
        self.wrong = wrong
        self.after = -1

    def utcnow(self) -> datetime:
        return super().utcnow() + self.wrong

    async def sleep(self, seconds: float) -> None:
        self.wrong = -self.wrong
        await super().sleep(seconds)

    async def wait_for(
        self, waiter: asyncio.Future[None], seconds: float | None
    ) -> None:
        self.wrong = -self.wrong
        await super().wait_for(waiter, seconds)


HOUR: Final = timedelta(hours=1)
WRONG: Final = {"+1 h": HOUR, "-1 h": -HOUR, "+1 d": 24 * HOUR, "-1 d": -24 * HOUR}
WAITS: Final = {
    "retry-after": (reply(503, b"", b"Retry-After: 7"), (7.0, 7.1)),
    "limited": (reply(429, b"", b"Retry-After: 7"), (7.0, 7.1)),
    "window": (reply(429, b"", b'RateLimit: "api";r=0;t=55'), (55.0, 57.0)),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", WAITS)
async def test_the_wall_clock_does_not_matter(name: str, wrong: str) -> None:
    """A wall clock that is wrong or jumps changes no wait."""
    answer, (least, most) = WAITS[name]
    clock = Jumping(WRONG[wrong])
    async with bench(clock=clock) as rig:
        rig.server.fault("POST /restart", (send(answer),), times=1)
        assert (await caught(restart(rig.client)))[1] is None
        assert least <= clock.monotonic() <= most


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "+1 h",
        "+1 d",
        pytest.param("-1 h", marks=()),
        pytest.param("-1 d", marks=()),
    ],
)
async def test_a_wrong_clock_does_not_make_a_write_look_done(wrong: str | None) -> None:
    """A secret that was changed before is not taken for the one we failed to set (#54)."""
    clock = ManualClock(NOON + (WRONG[wrong] if wrong else timedelta()), auto=True)
    async with bench(clock=clock) as rig:
        rig.server.now = NOON - timedelta(minutes=10)
        await rig.client.config.add_secret("acme/demo", "KEY", "old")
        rig.server.now = NOON
        rig.server.requests.clear()
        rig.server.fault("POST /secrets", (reset,), times=1)
        await secret(rig.client)
        assert rig.server.count("POST /secrets") == 2


# --- Names and certificates. --------------------------------------------------------


def resolve_to(*addresses: str) -> Callable[..., Awaitable[Any]]:
    async def resolve(_self: Any, host: str, port: int = 0, **_: Any) -> Any:
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in addresses
        ]

    return resolve


async def unknown_name(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Stands in for the resolver of the machine."""

    def use(resolve: Any) -> None:
        monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
        monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", resolve)

    return use


NAMED: Final = "http://hub.localhost:{port}"


@pytest.mark.parametrize("do", ALL)
async def test_a_name_that_does_not_resolve(do: Do, names: Any) -> None:
    """Without an address nothing was sent: any call is tried again."""
    clock = Eventful()
    async with bench(clock=clock, endpoint=NAMED) as rig:
        names(unknown_name)
        _, error = await caught(do(rig.off))
        never_sent(error, sa.ConnectionFailedError)
        clock.meanwhile = lambda: names(resolve_to("127.0.0.1"))
        assert (await caught(do(rig.client)))[1] is None
        assert rig.server.count(ROUTES[do]) == 1


@pytest.mark.parametrize("do", [read, restart])
async def test_a_name_server_that_is_silent(do: Do, names: Any) -> None:
    """Finding the address is part of connecting, and bounded by its time limit (#48)."""
    settings = make_settings(timeouts={"connect": QUICK, "attempt": 3 * QUICK})
    patience = asyncio.Event()

    async def silent_name_server(*_: Any, **__: Any) -> Any:
        await patience.wait()
        raise OSError("the name server did not answer")

    async with bench(settings, endpoint=NAMED) as rig:
        names(silent_name_server)
        _, error = await caught(do(rig.off))
        names(resolve_to("127.0.0.1"))
        patience.set()
        for _ in range(5):  # whoever waits for that look-up hears of its end
            await asyncio.sleep(0)
        never_sent(error, sa.RequestTimeoutError)
        assert isinstance(error, sa.RequestTimeoutError)
        assert error.phase == "connect"


@pytest.mark.parametrize("do", ALL)
async def test_the_first_address_is_dead(do: Do, names: Any) -> None:
    """Of several addresses, one that answers is enough (#48)."""
    names(resolve_to("127.0.0.2", "127.0.0.1"))
    async with bench(endpoint=NAMED) as rig:
        assert (await caught(do(rig.off)))[1] is None
        assert len(rig.server.requests) == 1


PAST: Final = datetime(2020, 1, 1, tzinfo=UTC)


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def identity(kind: str) -> ssl.SSLContext:
    """Make what a server shows: one that fits, or one that does not."""
    issue = authority().issue_cert
    certificate = {
        "good": lambda: issue("127.0.0.1"),
        "expired": lambda: issue("127.0.0.1", not_before=PAST, not_after=PAST + HOUR),
        "wrong host": lambda: issue("other.example"),
    }[kind]()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trust() -> ssl.SSLContext:
    """Make what trusts our authority."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def trusting() -> aiohttp.ClientSession:
    """Make a session that trusts our authority, for the client to borrow."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust()))


def https(kind: str) -> FaultServer:
    return FaultServer(tls=identity(kind), scheme="https")


async def test_a_certificate_that_fits() -> None:
    """With an authority that is trusted, an https endpoint works."""
    async with bench(server=https("good"), session=trusting) as rig:
        for do in ALL:
            assert (await caught(do(rig.client)))[1] is None
        assert rig.server.connections == 1


def refused_for_good(rig: Bench, error: sa.SpacesError | None, says: str) -> None:
    never_sent(error, sa.ConnectionFailedError)
    assert says in str(error).lower()
    assert rig.server.connections == 1
    assert not rig.server.requests
    assert isinstance(rig.clock, ManualClock)
    assert rig.clock.slept == []


@pytest.mark.parametrize("kind", ["expired", "wrong host"])
@pytest.mark.parametrize("do", ALL)
async def test_a_certificate_that_does_not_fit(
    do: Do, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An expired or foreign certificate ends a call at once: it is not tried again."""
    async with bench(server=https(kind), session=trusting) as rig:
        _, error = await caught(do(rig.client))
        refused_for_good(rig, error, "certificate")
        assert error is not None
        shows_nothing(error, caplog)
        rig.server.tls = identity("good")


@pytest.mark.parametrize("do", [read, secret])
async def test_an_authority_that_is_not_trusted(do: Do) -> None:
    """A certificate of nobody we know ends a call at once (#47)."""
    async with bench(server=https("good"), usable=False) as rig:
        _, error = await caught(do(rig.client))
        refused_for_good(rig, error, "certificate")


@pytest.mark.parametrize("do", [read, secret])
async def test_https_to_a_port_without_tls(do: Do) -> None:
    """A server that speaks plain HTTP gets no token, and no second try (#47)."""
    server = FaultServer(scheme="https")
    server.greeting = (send(reply(400)), close)
    async with bench(server=server, session=trusting) as rig:
        _, error = await caught(do(rig.client))
        refused_for_good(rig, error, "tls")
        rig.server.tls = identity("good")


@pytest.mark.parametrize("do", [read, restart])
async def test_a_tls_handshake_that_stalls(do: Do) -> None:
    """A handshake that does not end is no connection: tried again, never in doubt (#47)."""
    settings = make_settings(timeouts={"connect": 3 * QUICK, "read": 5.0})
    clock = Eventful()
    clock.after = 0
    good, server = identity("good"), FaultServer(scheme="https")
    server.greeting = (stall,)
    async with bench(settings, clock=clock, server=server, session=trusting) as rig:
        _, error = await caught(do(rig.off))
        never_sent(error, sa.RequestTimeoutError)
        assert isinstance(error, sa.RequestTimeoutError)
        assert error.phase == "connect"

        def mend() -> None:
            rig.server.heal()
            rig.server.tls = good

        clock.meanwhile = mend
        assert (await caught(do(rig.client)))[1] is None
        assert rig.server.count(ROUTES[do]) == 1


@pytest.mark.parametrize("do", ALL)
async def test_what_kept_a_call_from_connecting_outlasts_its_time(do: Do) -> None:
    """A last attempt that time cut short does not hide why there was no connection."""
    settings = make_settings(
        timeouts={"total": 2 * QUICK},
        retry=sa.RetryPolicy(wait_initial=QUICK),
        ssl=trust(),
    )
    clock = Eventful()
    clock.after = 0
    good, server = identity("good"), FaultServer(scheme="https")
    async with bench(settings, clock=clock, server=server) as rig:
        await rig.server.refuse()

        def stalls() -> None:
            rig.server.greeting = (stall,)
            rig.server.listen()
            rig.server.accept()

        clock.meanwhile = stalls
        _, error = await caught(do(rig.client))
        never_sent(error, sa.ConnectionFailedError)
        assert "refused" in str(error)
        assert rig.server.connections >= 1
        rig.server.heal()
        rig.server.tls = good


async def test_https_is_not_left_for_http() -> None:
    """A redirect of a read from https to http is refused (#35)."""
    async with bench(server=https("good"), session=trusting) as rig:
        down = (
            f"Location: http://127.0.0.1:{rig.server.port}/api/spaces/acme/demo/runtime"
        )
        for location in (down.encode(), b"Location: {other}/api"):
            rig.server.fault(
                "GET /runtime", (send(reply(302, b"", location)),), times=1
            )
            _, error = await caught(read(rig.client))
            assert type(error) is sa.RedirectRefusedError
        assert rig.server.connections == 1


# --- The table, the tests and the document. -----------------------------------------

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "docs" / "what-happens-when.md"
NUMBERS: Final = frozenset(range(1, 58))


def test_every_number_has_a_row_or_a_test() -> None:
    """The matrix has 57 numbers, and none is forgotten."""
    scripted = {row.number for row in ROWS}
    assert scripted | set(ELSEWHERE) == NUMBERS
    assert not scripted & set(ELSEWHERE)
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("number", ELSEWHERE)
def test_what_is_proven_elsewhere_is(number: int) -> None:
    """The tests that the table refers to exist, and their docstrings say what holds."""
    for place in ELSEWHERE[number]:
        path, _, name = place.partition("::")
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        tests = {
            node.name: ast.get_docstring(node)
            for node in ast.parse((ROOT / path).read_text("utf-8")).body
            if isinstance(node, functions) and node.name.startswith("test_")
        }
        assert tests.get(name), f"{path} has no {name}"


def test_the_document_has_every_number() -> None:
    """What users read has each number of the table, once, and no other."""
    text = DOCUMENT.read_text("utf-8")
    found = [int(n) for n in re.findall(r"^\| #(\d+) \|", text, re.MULTILINE)]
    assert sorted(found) == sorted(NUMBERS)


def test_the_document_names_real_errors() -> None:
    """Each error that the document names is one of ours."""
    named = set(re.findall(r"`(\w+Error)`", DOCUMENT.read_text("utf-8")))
    assert named
    assert not [name for name in named if not hasattr(sa, name)]
