"""Pause an org every night with the workers of taskiq, a third-party task queue on Redis.

taskiq brings tasks to workers, and may bring one twice. That does no harm: the run itself,
in Redis as well, says which worker has which Space, and what a lost one has left.

    pip install ".[redis]" taskiq taskiq-redis    # in a checkout
    export HF_TOKEN=hf_... REDIS=redis://localhost:6379
    taskiq worker examples.taskiq_workers:broker        # on each host
    python examples/taskiq_workers.py acme              # each night, from cron

It prints what each task has done. Exit status: 0 if the run is done, 1 if not.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from spaces_async import ClientSettings, Selection, SpacesClient

REDIS = os.environ.get("REDIS", "redis://localhost:6379")
HELPERS = 3
"""Tasks beside the one that begins the run; more tasks than workers gain nothing."""

results: RedisAsyncResultBackend[str] = RedisAsyncResultBackend(f"{REDIS}/2")
broker = RedisStreamBroker(f"{REDIS}/2").with_result_backend(results)
# One quota for all workers.
settings = ClientSettings(ledger=f"{REDIS}/0")


@broker.task
async def begin(org: str, store: str) -> str:
    """Begin the run, or join it if it is there, and work on it to its end."""
    running = Selection(author=org, stages="running")
    async with SpacesClient(settings=settings) as client:
        report = await client.bulk.pause(running, store=store)
        report.raise_for_failures()
        return report.summary()


@broker.task
async def work(store: str) -> str:
    """Work on the run until it is over."""
    async with SpacesClient(settings=settings) as client:
        return (await client.bulk.work(store)).summary()


async def night(org: str) -> int:
    """Hand the tasks out and wait for them; return the exit status."""
    # A new name each night: a run that is over is not repeated.
    store = f"{REDIS}/1/pause-{org}-{datetime.now(UTC):%Y-%m-%d}"
    await broker.startup()
    try:
        tasks = [await begin.kiq(org, store)]
        tasks += [await work.kiq(store) for _ in range(HELPERS)]
        ends = [await task.wait_result(timeout=3600) for task in tasks]
    finally:
        await broker.shutdown()
    for end in ends:
        print(end.error if end.is_err else end.return_value)
    return int(ends[0].is_err)


if __name__ == "__main__":
    sys.exit(asyncio.run(night(sys.argv[1])))
