"""A client, a server that breaks, and what must hold after whatever happened."""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from attrs import define

import spaces_async as sa
from spaces_async._clock import Clock
from spaces_async.testing import ManualClock
from tests.support.fault_server import FaultServer
from tests.support.faults_table import MIB, QUICK, Row

TOKEN: Final = "hf_canaryCanaryCanaryTOKEN"
SECRET: Final = "canary-of-a-secret-value"
CANARIES: Final = (TOKEN, SECRET, "hf_canary", "canary-of")
TESTS: Final = str(Path(__file__).parent.parent)

Do = Callable[[sa.SpacesClient], Awaitable[Any]]
ID: Final = "acme/demo"


async def read(client: sa.SpacesClient) -> Any:
    return await client.lifecycle.get_runtime(ID)


async def write(client: sa.SpacesClient) -> Any:
    return await client.lifecycle.pause(ID)


async def restart(client: sa.SpacesClient) -> Any:
    return await client.lifecycle.restart(ID)


async def secret(client: sa.SpacesClient) -> Any:
    return await client.config.add_secret(ID, "KEY", SECRET)


ROUTES: Final[dict[Do, str]] = {
    read: "GET /runtime",
    write: "POST /pause",
    restart: "POST /restart",
    secret: "POST /secrets",
}


@define(eq=False)
class Bench:
    """What a test works with.

    Attributes:
        server: Breaks as told.
        client: With the row's settings and the default retries.
        clock: The client's; waiting takes no real time.
    """

    server: FaultServer
    client: sa.SpacesClient
    clock: Clock

    def later(self) -> None:
        """Let all that the Hub asked to wait for be over."""
        if isinstance(self.clock, ManualClock):
            self.clock.advance(2 * 86_400.0)

    @property
    def off(self) -> sa.SpacesClient:
        return self.client.with_options(retry=sa.RetryPolicy.off())


async def caught(awaitable: Awaitable[Any]) -> tuple[Any, sa.SpacesError | None]:
    """Return the result or the error of ours; any other error fails the test."""
    try:
        return await awaitable, None
    except sa.SpacesError as error:
        return None, error


def make_settings(row: Row | None = None, **options: Any) -> sa.ClientSettings:
    # A machine may stand still for a while: only what has to be silent is cut soon.
    limits: dict[str, Any] = {"connect": 5.0, "read": 5.0, "total": 60.0}
    if row is not None:
        limits["total"] = row.total
        if row.is_silent:
            limits["read"] = QUICK
        if row.attempt is not None:
            limits["attempt"] = row.attempt
    limits |= options.pop("timeouts", {})
    options.setdefault("max_response_bytes", MIB)
    return sa.ClientSettings(timeouts=sa.Timeouts(**limits), **options)


@asynccontextmanager
async def bench(
    settings: sa.ClientSettings | None = None,
    *,
    clock: Clock | None = None,
    server: FaultServer | None = None,
    endpoint: str = "",
    session: Callable[[], aiohttp.ClientSession] | None = None,
    usable: bool = True,
) -> AsyncIterator[Bench]:
    """Give a test its bench; afterwards see to it that nothing is left behind.

    Args:
        settings: The client's.
        clock: The client's; None is one that takes no real time.
        server: Made beforehand, if it is a special one.
        endpoint: What the client calls the server, with `{port}`.
        session: Makes one for the client to borrow.
        usable: Whether the next calls must work.
    """
    tasks = asyncio.all_tasks()
    files = count_files()
    clock = clock or ManualClock(auto=True)
    borrowed = session() if session else None
    server = server or FaultServer()
    async with server:
        client = sa.SpacesClient(
            token=TOKEN,
            endpoint=endpoint.format(port=server.port) or server.url,
            settings=settings or make_settings(),
            session=borrowed,
            clock=clock,
        )
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:
            port = elsewhere.getsockname()[1]
            server.words[b"{other}"] = b"http://127.0.0.1:%d" % port
            async with client:
                rig = Bench(server, client, clock)
                yield rig
                server.heal()
                rig.later()
                if usable:
                    await is_usable(client)
            assert not select.select([elsewhere], [], [], 0)[0], "it went elsewhere"
        if borrowed is not None:
            await borrowed.close()
    for _ in range(20):
        if count_files() <= files and asyncio.all_tasks() <= tasks:
            break
        await asyncio.sleep(0)
    assert count_files() <= files, "file descriptors leaked"
    assert asyncio.all_tasks() <= tasks, "a task was left behind"


def count_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (called very often)


async def is_usable(client: sa.SpacesClient) -> None:
    """The next calls work, get their own answers, and nothing is held."""
    patient = client.with_options(
        timeouts=sa.Timeouts(read=5.0), retry=sa.RetryPolicy.off()
    )
    for name in ("next", "after-next"):
        runtime = await patient.lifecycle.get_runtime(f"acme/{name}")
        assert runtime.raw["path"] == f"/api/spaces/acme/{name}/runtime"
    is_clean(client)


def is_clean(client: sa.SpacesClient) -> None:
    """No connection, no place and no permit of the governor is held."""
    shared = client._session._shared
    session = shared.transport._session
    assert session is not None
    assert session.connector is not None
    assert not session.connector._acquired
    assert shared.places.in_use == 0
    for account in shared.accounts.values():
        assert account.governor._in_flight == 0


def shows_nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """No canary is in anything that can be printed, logged or written of an error."""
    shown = [caplog.text, *(str(record.args) for record in caplog.records)]
    pending: list[BaseException | None] = [error]
    while pending:
        part = pending.pop()
        if part is None:
            continue
        pending += [part.__cause__, part.__context__]
        stack = traceback.walk_tb(part.__traceback__)
        ours = [(f, n) for f, n in stack if not f.f_code.co_filename.startswith(TESTS)]
        assert not [f for f, _ in ours if "aiohttp" in f.f_code.co_filename]
        frames = traceback.StackSummary.extract(iter(ours), capture_locals=True)
        shown += [str(part), repr(part), repr(vars(part)), *frames.format()]
        shown += getattr(part, "__notes__", ())
    packed = pickle.dumps(error)
    shown.append(packed.decode("latin-1"))
    assert str(pickle.loads(packed)) == str(error)  # noqa: S301  (our own)
    assert not [text for text in shown if any(c in text for c in CANARIES)]
