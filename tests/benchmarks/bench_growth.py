"""How cost grows with the number of Spaces: each thing at 10, 1,000, 100,000 or more."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count as numbers
from pathlib import Path

from spaces_async import SpacesClient, SpaceStage
from tests.benchmarks.bench_bulk import (
    CONCURRENCY,
    ids,
    keep,
    lazy_ids,
    memory_of_stream,
    nothing,
)
from tests.benchmarks.contestants import our_client
from tests.benchmarks.harness import (
    ROOT,
    Loop,
    Plan,
    Results,
    Series,
    cpu_of,
    loops,
    server,
    with_workers,
)

_MEMORY_FLOOR_MIB = 2.0
"""Two runs of the same differ by so much."""

Work = Callable[[SpacesClient, int], Awaitable[object]]
"""Something about so many Spaces."""


def measure(plan: Plan) -> Results:
    """Measure each kind of work at each size."""
    if not plan.has_speed:
        return Results()
    sizes = plan.pick((10, 1000, 100_000), (10, 100, 200))
    results = Results()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with (
        server() as url,
        tempfile.TemporaryDirectory(dir=build) as folder,
        loops(Plan(has_speed=False)) as made,
    ):
        loop = made[""]
        client = our_client(loop, url)
        works: dict[str, Work] = {
            "calls: `get_runtime`": calls,
            "listing: `list_spaces`": listing,
            "bulk: `restart`": restarts,
            "waits: `wait_until`, of one owner": waits,
        }
        for what, work in works.items():
            results.growth.append(grow(loop, client, what, work, sizes))
        results.growth += journals(loop, client, Path(folder), sizes)
        largest = plan.pick(1_000_000, 1000)
        what = "bulk: a stream of nothing"
        results.growth.append(grow(loop, client, what, streams, (*sizes, largest)))
    results.growth += memory((*sizes, largest))
    return results


def grow(
    loop: Loop, client: SpacesClient, what: str, work: Work, sizes: tuple[int, ...]
) -> Series:
    """Return the CPU seconds of some work at each size."""
    series = Series(what, "CPU s")
    loop.run(lambda: work(client, sizes[0]))
    for size in sizes:

        def once(size: int = size) -> None:
            loop.run(lambda: work(client, size))

        series.points.append((size, cpu_of(once, repeats=3 if size <= 1000 else 1)))
    return series


async def calls(client: SpacesClient, count: int) -> None:
    await with_workers(ids(count), client.lifecycle.get_runtime, CONCURRENCY)


async def listing(client: SpacesClient, count: int) -> None:
    spaces = client.catalog.list_spaces(author=f"n{count}", expand=["runtime"])
    assert len([space.id async for space in spaces]) == count


async def restarts(client: SpacesClient, count: int) -> None:
    assert (await client.bulk.restart(ids(count), concurrency=CONCURRENCY)).ok


async def waits(client: SpacesClient, count: int) -> None:
    """Wait for all Spaces of an owner at once: they share its listing."""
    wait = client.lifecycle.wait_until
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            running = wait(f"n{count}/s{number}", {SpaceStage.RUNNING}, timeout=None)
            group.create_task(running)


async def streams(client: SpacesClient, count: int) -> None:
    stream = client.bulk.stream(
        nothing, lazy_ids(count), concurrency=CONCURRENCY, **keep("failures")
    )
    async with stream as outcomes:
        async for _ in outcomes:
            pass


def journals(
    loop: Loop, client: SpacesClient, folder: Path, sizes: tuple[int, ...]
) -> list[Series]:
    """Write a journal for so many Spaces, then continue the finished bulk from it."""
    files = numbers()
    finished: dict[int, Path] = {}

    async def write(client: SpacesClient, count: int) -> None:
        path = finished[count] = folder / f"{next(files)}.jsonl"
        targets = ids(count)
        report = await client.bulk.restart(targets, concurrency=64, journal=path)
        assert report.ok

    async def read(client: SpacesClient, count: int) -> None:
        report = await client.bulk.resume(finished[count])
        assert len(report) == count

    return [
        grow(loop, client, "journal: `restart` with one", write, sizes),
        grow(loop, client, "journal: `resume` of a finished one", read, sizes),
    ]


def memory(sizes: tuple[int, ...]) -> list[Series]:
    """Return the peak memory of streams, each in a new process."""
    kinds = ("all", "failures") if keep("all") else ("all",)
    return [
        Series(
            f'memory: `bulk.stream`, keep="{kind}"',
            "MiB",
            [(size, memory_of_stream(size, kind)) for size in sizes],
            _MEMORY_FLOOR_MIB,
        )
        for kind in kinds
    ]
