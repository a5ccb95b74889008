"""A client, a server that breaks, and what must hold after whatever happened."""

from __future__ import annotations

import asyncio
import gc
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from attrs import define

import spaces_async as sa
from spaces_async.testing import ManualClock

from .fault_server import FaultServer
from .faults_table import MIB, QUICK, Row

TOKEN: Final = "hf_canaryCanaryCanaryTOKEN"
SECRET: Final = "canary-of-a-secret-value"
CANARIES: Final = (TOKEN, SECRET, "hf_canary", "canary-of")
TESTS: Final = str(Path(__file__).parent.parent)
FDS: Final = Path("/proc/self/fd")

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
        other: Another origin, to which nothing may go.
        client: With the row's settings and the default retries.
        clock: The client's; waiting takes no real time.
    """

    server: FaultServer
    other: FaultServer
    client: sa.SpacesClient
    clock: ManualClock

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
    limits: dict[str, Any] = {"connect": 5.0, "read": QUICK, "total": 60.0}
    if row is not None:
        limits["total"] = row.total
        if row.attempt is not None:
            limits |= {"attempt": row.attempt, "read": 5.0}
    limits |= options.pop("timeouts", {})
    options.setdefault("max_response_bytes", MIB)
    return sa.ClientSettings(timeouts=sa.Timeouts(**limits), **options)


@asynccontextmanager
async def bench(
    settings: sa.ClientSettings | None = None,
    *,
    clock: ManualClock | None = None,
    server: FaultServer | None = None,
    session: Callable[[], aiohttp.ClientSession] | None = None,
) -> AsyncIterator[Bench]:
    """Give a test its bench; afterwards see to it that nothing is left behind."""
    tasks = asyncio.all_tasks()
    files = len(list(FDS.iterdir()))
    clock = clock or ManualClock(auto=True)
    borrowed = session() if session else None
    async with server or FaultServer() as server, FaultServer() as other:
        server.words[b"{other}"] = other.url.encode()
        client = sa.SpacesClient(
            token=TOKEN,
            endpoint=server.url,
            settings=settings or make_settings(),
            session=borrowed,
            clock=clock,
        )
        async with client:
            yield Bench(server, other, client, clock)
            server.heal()
            await is_usable(client, clock)
            assert not other.connections
            assert not other.requests
        if borrowed is not None:
            await borrowed.close()
    for _ in range(20):
        if len(list(FDS.iterdir())) <= files:
            break
        await asyncio.sleep(0)
    assert len(list(FDS.iterdir())) <= files, "file descriptors leaked"
    assert asyncio.all_tasks() <= tasks, "a task was left behind"
    gc.collect(0)


async def is_usable(client: sa.SpacesClient, clock: ManualClock) -> None:
    """The next calls work, get their own answers, and nothing is held."""
    clock.advance(2 * 86_400.0)  # whatever the Hub asked to wait is over
    patient = client.with_options(
        timeouts=sa.Timeouts(read=5.0), retry=sa.RetryPolicy.off()
    )
    for name in ("next", "after-next"):
        runtime = await patient.lifecycle.get_runtime(f"acme/{name}")
        assert runtime.raw["path"] == f"/api/spaces/acme/{name}/runtime"
    is_clean(client)


def is_clean(client: sa.SpacesClient) -> None:
    """No connection, no place and no ticket of the governor is held."""
    shared = client._session._shared
    session = shared.transport._session
    assert session is not None
    assert session.connector is not None
    assert not session.connector._acquired
    assert shared.places._value == shared.settings.max_connections
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
