"""A process that does calls and shares a ledger, for tests that start several."""

from __future__ import annotations

import asyncio
import json
import sys

import spaces_async as sa


async def main(endpoint: str, token: str, ledger: str, calls: str) -> None:
    settings = sa.ClientSettings(ledger=ledger, reserve=0.0)
    done = failed = 0
    todo = iter(range(int(calls)))

    async def work(client: sa.SpacesClient) -> None:
        nonlocal done, failed
        for _ in todo:
            try:
                await client.lifecycle.get_runtime("tester/demo")
                done += 1
            except sa.SpacesError:
                failed += 1

    async with sa.SpacesClient(
        token=token, endpoint=endpoint, settings=settings
    ) as client:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(work(client))
    sys.stdout.write(json.dumps({"done": done, "failed": failed}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
