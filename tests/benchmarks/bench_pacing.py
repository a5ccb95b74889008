"""2,000 calls against a quota of 500 in 300 seconds, in virtual time: nothing waits.

How long one program and several with the same token take beside the best schedule, and
how many calls are refused (429): for this client, and for as many bare aiohttp tasks
that wait out each refusal by themselves, one second longer than the Hub says, as the
official client does for reads.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

import aiohttp
import pytest
from attrs import evolve

from spaces_async.testing import FakeHub
from tests.benchmarks.harness import Figure, Plan, Results, Row
from tests.support import pacing
from tests.support.pacing import Load, Result, seeded

_TOO_MANY = 429


def measure(plan: Plan) -> Results:
    """Measure all of it; quickly, only what is short."""
    if not plan.has_speed:
        return Results()
    calls = plan.pick(2000, 600)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        loads = {
            "spaces_async, alone": Load(),
            "spaces_async, the window half over": Load(reset=123.0, used=450),
            "spaces_async, 4 programs, greedy": Load(programs=4),
            "spaces_async, 4 programs, strict": Load(programs=4, sharing="strict"),
            "spaces_async, 4 programs, a ledger": Load(
                programs=4, ledger=Path(folder) / "ledger"
            ),
        }
        for name, load in plan.pick(list(loads.items()), [*loads.items()][:1]):
            some = evolve(load, calls=calls)
            rows.append(row(name, some, seeded(some)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing, "one_program", bare)
        for programs in plan.pick((1, 4), ()):
            load = Load(programs=programs, calls=calls)
            name = (
                "bare aiohttp, alone" if programs == 1 else "bare aiohttp, 4 programs"
            )
            rows.append(row(name, load, seeded(load)))
    return Results(rows=rows)


def row(name: str, load: Load, result: Result) -> Row:
    return Row(
        f"pacing.{re.sub(r'[^a-z0-9]+', '_', name)}",
        f"{load.calls:,} calls at 500 in 300 s / the best schedule: {name}",
        "times",
        "virtual time",
        {"virtual time": Figure.of([round(result.ratio, 4)])},
        None,
        f"{result.seconds:.1f} s, {result.refused} refused",
    )


async def bare(hub: FakeHub, load: Load, calls: int) -> int:
    """One program without a governor; return how many calls failed."""
    todo = iter(range(calls))
    url = f"{hub.url}/api/spaces/tester/demo/runtime"

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in todo:
            while True:
                async with session.get(url) as response:
                    await response.read()
                    told = response.headers.get("RateLimit", "")
                if response.status != _TOO_MANY:
                    break
                reset = re.search(r"t=(\d+)", told)
                await asyncio.sleep(float(reset[1]) + 1.0 if reset else 1.0)

    headers = {"Authorization": f"Bearer {hub.token}"}
    connector = aiohttp.TCPConnector(limit=load.concurrency)
    async with (
        aiohttp.ClientSession(headers=headers, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(load.concurrency):
            group.create_task(work(session))
    return 0
