"""256 tasks, mixed calls, a Hub that fails now and then: nothing is lost or kept."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import tracemalloc
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import async_solipsism  # type: ignore[import-untyped]
import pytest
from attrs import frozen

import spaces_async as sa
from spaces_async.testing import FakeHub, Quota
from tests.support.cut import open_files
from tests.support.load_work import (
    BUILD,
    MAX_CONNECTIONS,
    STREAMS,
    Load,
    Plan,
)
from tests.support.virtual import VirtualClock, play

logger = logging.getLogger(__name__)

LONG: Final = bool(os.environ.get("SOAK"))
MIB: Final = 1024 * 1024

# What the Hub keeps is the business of the Hub, and what this counts with is ours.
NOT_OURS: Final = ("*/spaces_async/testing/*", "*/tests/support/*", "*/tracemalloc.py")

VIRTUAL: Final = Plan(pause=60.0, latency=0.2, rivals=100.0, limit=7200.0, log="run")
REAL: Final = Plan(pause=0.5, latency=0.002, rivals=1.0, limit=60.0, log="build")


@frozen
class Mark:
    """What is held at a moment when no call is under way."""

    memory: int
    files: int


@contextmanager
def traced() -> Generator[None, None, None]:
    """Trace every allocation."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def memory() -> int:
    """Return the bytes that are allocated, but for what the Hub keeps; 0 untraced."""
    if not tracemalloc.is_tracing():
        return 0
    gc.collect()
    filters = [
        tracemalloc.Filter(inclusive=False, filename_pattern=p) for p in NOT_OURS
    ]
    traces = tracemalloc.take_snapshot().filter_traces(filters).traces
    return sum(trace.size for trace in traces)


async def mark(load: Load) -> Mark:
    """Wait until nothing is under way, and look.

    A connection in the pool is one descriptor here and one of the Hub's, unless it is
    as virtual as the time.
    """
    load.tidy()
    load.hub.requests.clear()
    session: Any = load.client._session.shared.transport._session
    async with asyncio.timeout(30):
        while load.hub.connections != sum(map(len, session.connector._conns.values())):
            await asyncio.sleep(0)
    assert not session.connector._acquired
    assert not load.hub.in_flight
    virtual = isinstance(asyncio.get_running_loop(), async_solipsism.EventLoop)
    sockets = 0 if virtual else 2 * load.hub.connections
    return Mark(memory(), open_files() - sockets if sys.platform == "linux" else 0)


@asynccontextmanager
async def a_load(plan: Plan, quota: Quota) -> AsyncGenerator[Load, None]:
    """A Hub, a client, and what they will have to do with each other."""
    # Debug mode keeps a stack for each task and handle, which is not to be measured.
    asyncio.get_running_loop().set_debug(False)
    clock = VirtualClock()
    settings = sa.ClientSettings(
        max_connections=MAX_CONNECTIONS,
        retry=sa.RetryPolicy(wait_initial=plan.pause / 10),
    )
    async with (
        FakeHub(
            clock=clock, quota=quota, build_seconds=BUILD, config_restarts=False
        ) as hub,
        sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock, settings=settings
        ) as client,
    ):
        load = Load(hub, client, plan)
        load.prepare()
        yield load


async def hold_out(plan: Plan, quota: Quota, warm_up: float, seconds: float) -> None:
    """Let 256 tasks work, then judge what they were told and what is left of them."""
    files, tasks = open_files(), asyncio.all_tasks()
    before: Mark | None = None
    async with a_load(plan, quota) as load:
        if warm_up:
            await load.run(warm_up)
            before = await mark(load)
        await load.run(seconds)
        after = await mark(load)
        left = {
            t for t in asyncio.all_tasks() - tasks if "RequestHandler" not in repr(t)
        }
        assert not left
        judge(load)
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    assert open_files() == files
    if before is not None:
        logger.info("memory %+d KiB", (after.memory - before.memory) // 1024)
        assert after.memory - before.memory < MIB
        assert after.files == before.files


def judge(load: Load) -> None:
    """Every call has ended; the Hub has done what was reported, and nothing else."""
    for name in ("begun", "done", "failed", "unknown", "effects", "statuses", "most"):
        logger.info("%s: %s", name, getattr(load, name))
    ended = load.done.total() + load.failed.total()
    assert load.begun.total() == ended
    assert load.most <= MAX_CONNECTIONS + STREAMS
    if LONG:  # in a short run it may be that nobody was refused
        assert load.statuses[429]
    restarts = sum(space.restarts for space in load.hub.spaces.values())
    assert restarts == load.effects["restart"] + load.effects["bulk restart"]
    for name in ("restart", "pause", "add_variable", "delete_variable", "add_secret"):
        assert load.done[name] <= load.effects[name]
        assert load.effects[name] - load.done[name] <= load.unknown[name]


@pytest.fixture(autouse=True)
def no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the package logs pytest would keep, and the test count as held."""
    caplog.set_level(logging.CRITICAL, "spaces_async")


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
def test_an_hour_of_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 tasks and 5 % faults: nothing is lost, and nothing is left of them.

    Every call ends in a result or in an error that its faults allow. What was reported
    as done is in the Hub's own state; a restart was done once, one that was reported
    as unknown at most once, and one that failed not at all. No more connections are
    used than allowed, no task is left, no file, and less than 1 MiB more memory than
    after the warm-up, allocated by anybody but FakeHub and this test. The long form is
    an hour; quota windows, retries and keep-alives take no real time.
    """

    async def scene() -> None:
        await hold_out(VIRTUAL, Quota(600, 300.0), 120, 3600 if LONG else 120)

    with traced():
        play(monkeypatch, scene)


@pytest.mark.timeout(300)
async def test_a_minute_of_real_time() -> None:
    """The same over real sockets and in real time: the long form is a minute.

    The short form leaves out what grows: to measure it takes longer than all the rest.
    """
    quota = Quota(600, 1.0)
    if not LONG:
        await hold_out(REAL, quota, 0.0, 1.5)
        return
    with traced():
        await hold_out(REAL, quota, 5.0, 60.0)
