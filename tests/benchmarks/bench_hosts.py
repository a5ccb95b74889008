"""Hosts that share one quota through Redis: how long they take, and what it costs.

2,000 calls against a quota of 500 in 300 seconds, 64 at the same time on each host, in
virtual time with a real Redis; and what a call costs more than without it, in CPU time
of the client.

The cost is put together from two figures, each measured in real time: one exchange with
Redis, as often as the calls of the virtual run needed one, and the arithmetic of a call
whose block is there. A difference of whole runs would drown in their noise.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import pytest

from spaces_async._clock import Clock
from spaces_async._quota.governor import Governor
from spaces_async._quota.redis_ledger import RedisLedger
from spaces_async._redacted import Redacted, Token
from spaces_async._wire.ratelimit import Quota
from tests.benchmarks.harness import Figure, Goal, Plan, Results, Row
from tests.support.pacing import Load, Result, seeded
from tests.support.redis_server import SERVER, RedisServer, use_timed_store

_HOSTS: Final = (2, 4, 16)
_RATIO_GOAL: Final = 1.012
_EVEN_GOAL_US: Final = 20.0
_UNEVEN_GOAL_US: Final = 45.0
_FIRST_SHARE: Final = 0.7


def measure(plan: Plan) -> Results:
    """Measure all of it; nothing where there is no Redis."""
    if not plan.has_speed or SERVER is None:
        return Results()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            costs = asyncio.run(_costs(server, plan))
            for hosts in plan.pick(_HOSTS, _HOSTS[:1]):
                for share in (None, _FIRST_SHARE):
                    rows += _rows(server, plan, hosts, share, costs)
        finally:
            server.kill()
    return Results(rows=rows)


def _rows(
    server: RedisServer,
    plan: Plan,
    hosts: int,
    share: float | None,
    costs: tuple[list[float], float],
) -> list[Row]:
    load = Load(
        calls=plan.pick(2000, 600),
        programs=hosts,
        ledger=server.url,
        first_share=share,
    )
    result, exchanges = _run(server, load)
    kind = "even" if share is None else f"one with {share:.0%}"
    key = f"hosts.{hosts}.{'even' if share is None else 'uneven'}"
    what = f"{hosts} hosts on Redis, {kind}"
    a_call = exchanges / load.calls
    exchange_us, local_us = costs
    goal = _EVEN_GOAL_US if share is None else _UNEVEN_GOAL_US
    return [
        Row(
            key,
            f"{load.calls:,} calls at 500 in 300 s / the best schedule: {what}",
            "times",
            "virtual time",
            {"virtual time": Figure.of([round(result.ratio, 4)])},
            Goal(_RATIO_GOAL),
            f"{result.seconds:.1f} s, {result.refused} refused",
        ),
        Row(
            f"{key}.cpu",
            f"a call more than without Redis: {what}",
            "µs",
            "CPU",
            {"CPU": Figure.of([local_us + a_call * us for us in exchange_us])},
            Goal(goal),
            f"{a_call:.3f} exchanges of {statistics.median(exchange_us):.0f} µs a call,"
            f" and {local_us:.1f} µs",
        ),
    ]


def _run(server: RedisServer, load: Load) -> tuple[Result, int]:
    """Return the result in virtual time, and the number of exchanges."""
    with pytest.MonkeyPatch.context() as patch:
        store = use_timed_store(patch, server)
        store.flush()
        result = seeded(load)
        store.close()
    return result, store.exchanges


async def _costs(server: RedisServer, plan: Plan) -> tuple[list[float], float]:
    """Return the CPU time of an exchange, in each round, and of the rest of a call."""
    calls, rounds = plan.pick((4000, 9), (50, 2))
    ledger = RedisLedger(
        Redacted(server.url),
        Clock(),
        random.Random(0),  # noqa: S311  (no secret)
    )
    page = ledger.page("bench", Token("hf_bench"))
    shared, alone = Governor(Clock(), page=page), Governor(Clock())
    exchange_us: list[float] = []
    more_us: list[float] = []
    await _call(shared)
    for _ in range(rounds):
        # As if the window never came to its end.
        page.block.unspent = 10 * calls
        with_block = await _time(shared, calls)
        more_us.append(with_block - await _time(alone, calls))
        page.block.unspent = 0
        began = time.process_time()
        for _ in range(calls // 8):
            page.block.reports = True
            await page.exchange()
        exchange_us.append((time.process_time() - began) / (calls // 8) * 1e6)
    shared.close()
    page.block.unspent = 0
    await ledger.aclose()
    return exchange_us, statistics.median(more_us)


async def _time(governor: Governor, calls: int) -> float:
    """Return the CPU time of a call, in microseconds."""
    began = time.process_time()
    for _ in range(calls):
        await _call(governor)
    return (time.process_time() - began) / calls * 1e6


async def _call(governor: Governor) -> None:
    permit = governor.try_acquire("restart", asyncio.get_running_loop().time())
    if permit is None:
        permit = await governor.acquire("restart")
    governor.observe(permit, Quota("api", 10**8, 200.0, 10**8, 300.0), good=True)
    governor.release(permit)
