"""Many calls against a quota, in virtual time: the real client and the real Hub."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest
from attrs import frozen

import spaces_async as sa
from spaces_async.testing import FakeHub, Quota
from tests.support.virtual import play

LATENCY = (0.14, 0.37)
"""Seconds of a call: what was measured of the Hub from afar."""


@frozen
class Load:
    """What is to be done.

    Attributes:
        calls: All calls together.
        programs: Clients that share them out; they do not know of each other.
        concurrency: Calls of each client at the same time.
        quota: Calls of a window.
        window: Seconds of a window.
        reset: Seconds until the window ends that runs at the start.
        used: Calls of it that were used before.
        round_t: How the Hub rounds `t`.
        sharing: What the clients do about each other.
        ledger: The file, or the URL of Redis, through which they know of each other.
        first_share: Share of the calls that the first client does; None is an even one.
        seed: Decides all latencies.
    """

    calls: int = 2000
    programs: int = 1
    concurrency: int = 64
    quota: int = 500
    window: float = 300.0
    reset: float = 300.0
    used: int = 0
    round_t: Literal["ceil", "floor"] = "ceil"
    sharing: Literal["greedy", "strict"] = "greedy"
    ledger: Path | str | None = None
    first_share: float | None = None
    seed: int = 0

    @property
    def shares(self) -> list[int]:
        """The calls of each client."""
        others = self.programs - 1
        if self.first_share is None or not others:
            share = math.ceil(self.calls / self.programs)
            return [min(share, self.calls - n) for n in range(0, self.calls, share)]
        first = round(self.calls * self.first_share)
        rest = self.calls - first
        return [first, *((rest + n) // others for n in range(others))]

    @property
    def best(self) -> float:
        """Seconds that the best schedule takes: all is sent as a window opens."""
        later = self.calls - (self.quota - self.used)
        if later <= 0:
            return LATENCY[0]
        windows = math.ceil(later / self.quota)
        return self.reset + (windows - 1) * self.window + LATENCY[0]

    @property
    def best_of_workers(self) -> float:
        """The same for so many workers, who know each window to the instant."""
        rng = random.Random(self.seed)  # noqa: S311  (no secret)
        free = [0.0] * (self.concurrency * self.programs)
        begins, left = self.reset - self.window, self.quota - self.used
        for _ in range(self.calls):
            there, back = (rng.uniform(*LATENCY) / 2 for _ in range(2))
            arrives = heapq.heappop(free) + there
            if left == 0 or arrives >= begins + self.window:
                begins, left = begins + self.window, self.quota
            arrives = max(arrives, begins)
            left -= 1
            heapq.heappush(free, arrives + back)
        return max(free)


@frozen
class Result:
    """What came of it.

    Attributes:
        seconds: How long it took.
        ratio: That, as a multiple of the best schedule.
        ratio_of_workers: The same of the best schedule with so many workers.
        refused: How many responses were a 429, in all.
        refused_by_window: The same for each window.
        served: How many calls were counted in each window.
        failed: How many calls did not end in a result.
    """

    seconds: float
    ratio: float
    ratio_of_workers: float
    refused: int
    refused_by_window: dict[int, int]
    served: dict[int, int]
    failed: int


async def measure(load: Load) -> Result:
    """Let the clients do their calls and look at what the Hub saw."""
    loop = asyncio.get_running_loop()
    phase = load.reset - load.window  # by the Hub's time, which begins with it
    async with FakeHub(
        quota=Quota(load.quota, load.window, phase=phase),
        round_t=load.round_t,
        latency=LATENCY,
        seed=load.seed,
    ) as hub:
        start = loop.time()
        hub.add_space("tester/demo")
        hub.spend(load.used)
        async with asyncio.TaskGroup() as group:
            programs = [
                group.create_task(one_program(hub, load, calls))
                for calls in load.shares
            ]
        refused: Counter[int] = Counter()
        served: Counter[int] = Counter()
        for request in hub.requests:
            window = math.floor((request.at - phase) / load.window)
            (refused if request.status == 429 else served)[window] += 1
    seconds = loop.time() - start
    return Result(
        seconds=seconds,
        ratio=seconds / load.best,
        ratio_of_workers=seconds / load.best_of_workers,
        refused=sum(refused.values()),
        refused_by_window=dict(refused),
        served=dict(served),
        failed=sum(program.result() for program in programs),
    )


def seeded(load: Load) -> Result:
    """Measure in virtual time, every time alike."""
    results: list[Result] = []

    async def scene() -> None:
        results.append(await measure(load))

    made = random.Random
    with pytest.MonkeyPatch.context() as patch:
        # The client spreads its waits by chance; here that is to be the same each time.
        patch.setattr(random, "Random", lambda *_: made(load.seed))
        play(patch, scene)
    return results[0]


async def one_program(hub: FakeHub, load: Load, calls: int) -> int:
    """One client with calls of its own; return how many failed."""
    settings = sa.ClientSettings(
        sharing=load.sharing,
        ledger=load.ledger,
        reserve=0.0,
        timeouts=sa.Timeouts(total=None),
    )
    todo = iter(range(calls))
    failed = 0

    async def work(client: sa.SpacesClient) -> None:
        nonlocal failed
        for _ in todo:
            try:
                await client.lifecycle.get_runtime("tester/demo")
            except sa.SpacesError:
                failed += 1

    async with (
        sa.SpacesClient(token=hub.token, endpoint=hub.url, settings=settings) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(load.concurrency):
            group.create_task(work(client))
    return failed
