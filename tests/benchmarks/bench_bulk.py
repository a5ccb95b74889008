"""Many Spaces: what each costs, how fast they are done, and what is kept of them."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from itertools import count as numbers
from pathlib import Path
from typing import Any, Final

from spaces_async import BulkOptions, SpacesClient
from tests.benchmarks.contestants import (
    AIOHTTP,
    HTTPX,
    OFFICIAL,
    OURS,
    aiohttp_call,
    httpx_call,
    in_threads,
    official_client,
    our_client,
)
from tests.benchmarks.harness import (
    ROOT,
    Figure,
    Goal,
    Loop,
    Plan,
    Results,
    Row,
    Times,
    environment,
    interleave,
    loops,
    peak_memory,
    server,
    with_workers,
)
from tests.support.redis_server import SERVER, RedisServer

CONCURRENCY: Final = 16
_LATENCY_SECONDS: Final = 0.05
_IN_FLIGHT: Final = 256
_OFFICIAL_POOL: Final = 100
_FIRST: Final = 50_000
_MORE: Final = 200_000


def ids(count: int) -> list[str]:
    return [f"acme/s{number}" for number in range(count)]


async def lazy_ids(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield f"acme/s{number}"


async def nothing(_client: SpacesClient | None, _repo_id: str) -> None:
    """What is left is the bulk itself."""


def keep(what: str) -> dict[str, Any]:
    """Return the option that says which outcomes are kept, where a bulk has it."""
    stream = SpacesClient(token=False).bulk.stream
    has_it = {*BulkOptions.__annotations__, *inspect.signature(stream).parameters}
    return {"keep": what} if "keep" in has_it else {}


def measure(plan: Plan) -> Results:
    """Measure all; where orjson and uvloop may not be used there is no goal."""
    if not plan.has_speed:
        return Results()
    results = Results()
    with server() as url:
        results.extend(each(plan, url))
        for places in (16, 64):
            results.extend(all_of_them(plan, url, places))
        results.extend(journal(plan, url))
    with server(_LATENCY_SECONDS) as url:
        results.extend(all_of_them(plan, url, _IN_FLIGHT, latency=True))
    results.extend(the_bulk_itself(plan))
    results.extend(memory(plan))
    return results


def our_bulk(
    loop: Loop, client: SpacesClient, targets: list[str], concurrency: int
) -> Callable[[], None]:
    async def work() -> None:
        report = await client.bulk.restart(targets, concurrency=concurrency)
        assert report.ok

    return lambda: loop.run(work)


def each(plan: Plan, url: str) -> Results:
    """The CPU of a restart in a bulk, beside workers around bare requests."""
    targets = ids(plan.pick(400, 20))
    contestants: dict[str, Callable[[], object]] = {}

    def workers(loop: Loop, call: Any) -> Callable[[], None]:
        return lambda: loop.run(lambda: with_workers(targets, call, CONCURRENCY))

    with ExitStack() as stack:
        made = stack.enter_context(loops(plan))
        for suffix, loop in made.items():
            client = our_client(loop, url)
            bare = aiohttp_call(loop, url, "POST", "restart")
            contestants[OURS + suffix] = our_bulk(loop, client, targets, CONCURRENCY)
            contestants[AIOHTTP + suffix] = workers(loop, bare)
        httpx = httpx_call(made[""], url, "POST", "restart")
        contestants[HTTPX] = workers(made[""], httpx)
        official = official_client(url).restart_space
        contestants[OFFICIAL] = in_threads(official, targets, CONCURRENCY)
        times = interleave(
            f"a restart in a bulk of {len(targets)}, {CONCURRENCY} in flight",
            contestants,
            rounds=plan.pick(11, 2),
            units=len(targets),
        )
    what = f"`bulk.restart`, each Space / {AIOHTTP}, workers"
    rows = [
        Row(
            "bulk.restart",
            what,
            "times",
            "CPU",
            times.ratio(OURS, AIOHTTP),
            Goal(1.3),
        ),
        Row(
            "bulk.restart.httpx",
            f"`bulk.restart`, each Space / {HTTPX}, workers",
            "times",
            "CPU",
            times.ratio(OURS, HTTPX),
        ),
    ]
    if f"{OURS}, uvloop" in times.samples:
        ratio = times.ratio(f"{OURS}, uvloop", f"{AIOHTTP}, uvloop")
        row = Row(
            "bulk.restart.uvloop", f"{what}, both in uvloop", "times", "CPU", ratio
        )
        rows.insert(1, row)
    return Results(rows=rows, costs=[times.costs()])


def all_of_them(plan: Plan, url: str, places: int, *, latency: bool = False) -> Results:
    """The time of 2,000 restarts, beside the official client in as many threads."""
    targets = ids(plan.pick(2000, 40))
    with ExitStack() as stack:
        made = stack.enter_context(loops(plan))
        loop = made[""]
        client = our_client(loop, url, connections=max(100, places))
        bare = aiohttp_call(loop, url, "POST", "restart")
        # Its own pool is too small for so many threads only.
        pool = places if places > _OFFICIAL_POOL else None
        official = official_client(url, connections=pool).restart_space
        contestants: dict[str, Callable[[], object]] = {
            OURS: our_bulk(loop, client, targets, places),
            AIOHTTP: lambda: loop.run(lambda: with_workers(targets, bare, places)),
            OFFICIAL: in_threads(official, targets, places),
        }
        if ", uvloop" in made:
            fast = made[", uvloop"]
            client = our_client(fast, url, connections=max(100, places))
            contestants[f"{OURS}, uvloop"] = our_bulk(fast, client, targets, places)
        how = f"{places} in flight"
        if latency:
            how += f", {_LATENCY_SECONDS * 1000:.0f} ms latency"
        times = interleave(
            f"a bulk of {len(targets):,} restarts, {how}, each",
            contestants,
            rounds=plan.pick(5, 1),
            units=len(targets),
        )
    key = f"bulk.threads.{places}"
    rows = [
        Row(
            key,
            f"{OFFICIAL} in {places} threads / a bulk of 2,000 restarts, {how}",
            "times as fast",
            "wall",
            times.ratio(OFFICIAL, OURS),
            Goal(4.0, "at least"),
        ),
        Row(
            f"{key}.aiohttp",
            f"{OFFICIAL} in {places} threads / bare aiohttp, {how}",
            "times as fast",
            "wall",
            times.ratio(OFFICIAL, AIOHTTP),
        ),
    ]
    if f"{OURS}, uvloop" in times.samples:
        rows.insert(
            1,
            Row(
                f"{key}.uvloop",
                f"{rows[0].what}, in uvloop",
                "times as fast",
                "wall",
                times.ratio(OFFICIAL, f"{OURS}, uvloop"),
            ),
        )
    return Results(rows=rows, costs=[times.costs()])


def journal(plan: Plan, url: str) -> Results:
    """A bulk at full speed with a journal, as a run in Redis, and without; on a disk."""
    targets = ids(plan.pick(3000, 40))
    files = numbers()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=build) as folder,
        loops(Plan(has_speed=False)) as made,
        ExitStack() as stack,
    ):
        loop = made[""]
        client = our_client(loop, url)

        async def recorded() -> None:
            path = Path(folder) / f"{next(files)}.jsonl"
            report = await client.bulk.restart(targets, concurrency=64, journal=path)
            assert report.ok

        async def sent_only() -> None:
            path = Path(folder) / f"{next(files)}.short"
            report = await client.bulk.restart(
                targets, concurrency=64, journal=path, record_before=False
            )
            assert report.ok

        async def shared() -> None:
            store = f"{redis}/run-{next(files)}"
            report = await client.bulk.restart(targets, concurrency=64, store=store)
            assert report.ok

        contestants: dict[str, Callable[[], object]] = {
            "with a journal": lambda: loop.run(recorded),
            "with a journal, no state before": lambda: loop.run(sent_only),
            "without": our_bulk(loop, client, targets, 64),
        }
        if SERVER is not None:
            # What it has answered is on the disk, as with a journal.
            always = ("--appendonly", "yes", "--appendfsync", "always")
            kept_in = RedisServer(Path(folder), *always)
            kept_in.start()
            stack.callback(kept_in.kill)
            redis = kept_in.url
            contestants["as a run in Redis"] = lambda: loop.run(shared)
        times = interleave(
            f"a bulk of {len(targets):,} restarts, 64 in flight, each",
            contestants,
            rounds=plan.pick(7, 1),
            units=len(targets),
        )
        (first, *_) = sorted(Path(folder).glob("*.jsonl"))
        size = first.stat().st_size
    rows = [
        _journal_row(times, size / len(targets)),
        Row(
            "bulk.journal.sent",
            "a bulk with a journal, `record_before=False` / without",
            "times",
            "wall",
            times.ratio("with a journal, no state before", "without"),
        ),
    ]
    if SERVER is not None:
        rows.append(
            Row(
                "bulk.store",
                "a bulk as a run in Redis, one host / without",
                "times",
                "wall",
                times.ratio("as a run in Redis", "without"),
                note="`appendfsync always`",
            )
        )
    return Results(rows=rows, costs=[times.costs()])


def _journal_row(times: Times, size: float) -> Row:
    return Row(
        "bulk.journal",
        "a bulk with a journal / without",
        "times",
        "wall",
        times.ratio("with a journal", "without"),
        Goal(1.3),
        f"{size:.0f} bytes a Space",
    )


def the_bulk_itself(plan: Plan) -> Results:
    """Fanning out a function that does nothing, beside the usual ways."""
    count = plan.pick(20_000, 200)
    with loops(Plan(has_speed=False)) as made:
        loop = made[""]
        client = loop.enter(SpacesClient(token=False))

        async def stream() -> None:
            stream = client.bulk.stream(
                nothing, lazy_ids(count), concurrency=CONCURRENCY
            )
            async with stream as outcomes:
                assert len([1 async for _ in outcomes]) == count

        async def gather_and_semaphore() -> None:
            places = asyncio.Semaphore(CONCURRENCY)

            async def one(repo_id: str) -> None:
                async with places:
                    await nothing(None, repo_id)

            await asyncio.gather(*[one(x) async for x in lazy_ids(count)])  # noqa: TID251  (what it is compared with)

        async def workers() -> None:
            await with_workers(ids(count), lambda x: nothing(None, x), CONCURRENCY)

        times = interleave(
            f"nothing, done for each of {count:,} targets",
            {
                "bulk.stream": lambda: loop.run(stream),
                "gather and a semaphore": lambda: loop.run(gather_and_semaphore),
                "bare workers": lambda: loop.run(workers),
            },
            rounds=plan.pick(7, 1),
            units=count,
        )
    row = Row(
        "bulk.stream",
        "`bulk.stream` of a function that does nothing, each target",
        "µs",
        "CPU",
        times.per_unit("bulk.stream"),
        Goal(8.0),
    )
    return Results(rows=[row], costs=[times.costs()])


def memory(plan: Plan) -> Results:
    """What 200,000 more Spaces add to the memory of a stream, in new processes."""
    first, more = plan.pick((_FIRST, _MORE), (100, 500))
    added = [
        memory_of_stream(first + more, "failures") - memory_of_stream(first, "failures")
        for _ in range(plan.pick(3, 1))
    ]
    name = 'keep="failures"' if keep("failures") else "all outcomes kept"
    row = Row(
        "bulk.memory",
        f"memory of {more:,} more Spaces in `bulk.stream`, {name}",
        "MiB",
        "memory",
        {"memory": Figure.of(added)},
        Goal(8.0),
    )
    return Results(rows=[row])


def memory_of_stream(count: int, what: str) -> float:
    """Return the MiB that a new process needs at most to stream so many Spaces."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_bulk", str(count), what]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), cwd=ROOT, check=True
    )
    return float(done.stdout)


async def _stream(count: int, what: str) -> None:
    async with SpacesClient(token=False) as client:
        stream = client.bulk.stream(
            nothing, lazy_ids(count), concurrency=CONCURRENCY, **keep(what)
        )
        async with stream as outcomes:
            async for _ in outcomes:
                pass


if __name__ == "__main__":
    asyncio.run(_stream(int(sys.argv[1]), sys.argv[2]))
    print(peak_memory())
