"""Where the CPU time of a call goes: to aiohttp, to the event loop, or to which room of ours.

A timer interrupts the process after each few milliseconds of its CPU time. Each time the
innermost frame says who is at work; what is written in C counts for the frame that called
it, so the event loop's share has the kernel's in it. The server is another process. Beside
this client stands bare aiohttp: what both have in common cannot be saved here.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from tests.benchmarks.bench_bulk import CONCURRENCY, ids, our_bulk
from tests.benchmarks.bench_calls import REPO_ID
from tests.benchmarks.contestants import (
    AIOHTTP,
    OURS,
    AsyncCall,
    aiohttp_call,
    our_client,
)
from tests.benchmarks.harness import Loop, Plan, Results, Shares, server, with_workers

_TICK_SECONDS: Final = 0.001
_ROOMS: Final = {
    "spaces_async._wire": "_wire",
    "spaces_async._core": "_core",
    "spaces_async._quota": "_quota",
    "spaces_async.bulk": "bulk",
    "spaces_async": "other rooms",
    "asyncio": "event loop and kernel",
    "selectors": "event loop and kernel",
    "aiohttp": "aiohttp",
    "yarl": "aiohttp",
    "multidict": "aiohttp",
}
"""By the beginning of a module's name; the first that fits counts."""
_REST: Final = "records and all else"


def measure(plan: Plan) -> Results:
    """Profile a call and a bulk, each beside bare aiohttp."""
    count = plan.pick(30_000, 20)
    with server() as url:
        loop = Loop()
        client = our_client(loop, url)
        read = aiohttp_call(loop, url, "GET", "runtime")
        write = aiohttp_call(loop, url, "POST", "restart")
        targets = ids(count)
        works: list[tuple[str, str, Callable[[], object]]] = [
            ("`get_runtime`", OURS, _calls(loop, client.lifecycle.get_runtime, count)),
            ("`get_runtime`", AIOHTTP, _calls(loop, read, count)),
            ("`restart`", OURS, _calls(loop, client.lifecycle.restart, count)),
            ("`restart`", AIOHTTP, _calls(loop, write, count)),
            ("`bulk.restart`", OURS, our_bulk(loop, client, targets, CONCURRENCY)),
            (
                "`bulk.restart`",
                f"{AIOHTTP}, workers",
                lambda: loop.run(lambda: with_workers(targets, write, CONCURRENCY)),
            ),
        ]
        try:
            return Results(shares=[_profile(*work, count) for work in works])
        finally:
            loop.close()


def _calls(
    loop: Loop, call: AsyncCall | Callable[[str], Awaitable[object]], count: int
) -> Callable[[], None]:
    async def work() -> None:
        for _ in range(count):
            await call(REPO_ID)

    return lambda: loop.run(work)


def _profile(
    what: str, contestant: str, work: Callable[[], object], units: int
) -> Shares:
    """Return the microseconds of CPU for one unit of some work, by who takes them."""
    with _sampled() as seen:
        started = time.process_time()
        work()
        each = (time.process_time() - started) / units * 1e6
    total = sum(seen.values()) or 1
    rooms = {room: each * seen[room] / total for room in [*_ROOMS.values(), _REST]}
    return Shares(what, contestant, rooms)


@contextmanager
def _sampled() -> Generator[Counter[str]]:
    """Count who is at work each time that some CPU time has passed."""
    seen: Counter[str] = Counter()

    def sample(_number: int, frame: FrameType | None) -> None:
        if frame is not None:
            seen[_room(frame.f_globals.get("__name__", ""))] += 1

    before = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, _TICK_SECONDS, _TICK_SECONDS)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def _room(module: str) -> str:
    for beginning, room in _ROOMS.items():
        if module == beginning or module.startswith(f"{beginning}."):
            return room
    return _REST
