"""What fanning out costs without any call: workers over an iterator against tasks.

Prints time and peak memory of `bulk.run` for many targets beside the usual ways to do
the same. Run it with `make bench`.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

from spaces_async import SpacesClient

COUNT = 20_000
CONCURRENCY = 64


async def ids() -> AsyncIterator[str]:
    for number in range(COUNT):
        yield f"acme/s{number}"


async def nothing(_client: SpacesClient | None, _repo_id: str) -> None:
    await asyncio.sleep(0)


async def bulk() -> None:
    async with SpacesClient(token=False) as client:
        report = await client.bulk.run(nothing, ids(), concurrency=CONCURRENCY)
        assert len(report) == COUNT


async def gather_and_semaphore() -> None:
    places = asyncio.Semaphore(CONCURRENCY)

    async def one(repo_id: str) -> None:
        async with places:
            await nothing(None, repo_id)

    await asyncio.gather(*[one(repo_id) async for repo_id in ids()])  # noqa: TID251  (what it is compared with)


async def task_group_and_semaphore() -> None:
    places = asyncio.Semaphore(CONCURRENCY)

    async def one(repo_id: str) -> None:
        async with places:
            await nothing(None, repo_id)

    async with asyncio.TaskGroup() as group:
        async for repo_id in ids():
            group.create_task(one(repo_id))


async def bulk_stream_forgetting() -> None:
    async with SpacesClient(token=False) as client:
        stream = client.bulk.stream(nothing, ids(), concurrency=CONCURRENCY)
        async with stream as outcomes:
            async for _ in outcomes:
                pass


CONTESTANTS: dict[str, Callable[[], Awaitable[None]]] = {
    "bulk.run, one outcome kept for each": bulk,
    "bulk.stream": bulk_stream_forgetting,
    "gather and a semaphore, nothing kept": gather_and_semaphore,
    "TaskGroup and a semaphore": task_group_and_semaphore,
}


def main() -> None:
    print(f"{COUNT} targets at concurrency {CONCURRENCY}, no call")
    for name, run in CONTESTANTS.items():
        started = time.perf_counter()
        asyncio.run(run())  # type: ignore[arg-type]
        taken = time.perf_counter() - started
        tracemalloc.start()
        asyncio.run(run())  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(
            f"{name:38} {taken / COUNT * 1e6:6.1f} us each"
            f"  {peak / 2**20:6.1f} MiB at its peak"
        )


if __name__ == "__main__":
    main()
