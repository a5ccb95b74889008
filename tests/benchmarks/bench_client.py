"""What a call costs: this client, bare aiohttp and the official client, side by side.

All three restart Spaces at the same server in another process, in turns, so that a
slow moment of the machine hits all alike. Run it with `make bench`.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from huggingface_hub import HfApi

from spaces_async import ClientSettings, SpacesClient

COUNT = 400
CONCURRENCY = 16
ROUNDS = 5
SERVER = """
import asyncio
BODY = (b'{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"},'
        b'"storage":null,"gcTimeout":172800,"replicas":{"requested":1},"devMode":false,'
        b'"domains":[{"domain":"user-tmp-test-space.hf.space","stage":"READY"}]}')
HEAD = (b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n'
        b'RateLimit: "api";r=999999;t=299\\r\\n'
        b'RateLimit-Policy: "fixed window";"api";q=1000000;w=300\\r\\n'
        b'X-Request-Id: Root=1-1;2\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(BODY))
async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b'\\r\\n\\r\\n')
            writer.write(HEAD + BODY)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
IDS = [f"acme/s{number}" for number in range(COUNT)]


async def ours(url: str) -> None:
    settings = ClientSettings(reserve=0.0)
    async with SpacesClient(token="hf_x", endpoint=url, settings=settings) as client:
        report = await client.bulk.restart(IDS, concurrency=CONCURRENCY)
        assert report.ok


async def bare_aiohttp(url: str) -> None:
    headers = {"Authorization": "Bearer hf_x"}
    left = iter(IDS)
    async with aiohttp.ClientSession(headers=headers) as session:

        async def work() -> None:
            for repo_id in left:
                path = f"{url}/api/spaces/{repo_id}/restart"
                async with session.post(path) as response:
                    response.raise_for_status()
                    await response.json()

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(work())


async def official(url: str) -> None:
    api = HfApi(endpoint=url, token="hf_x")

    def all_of_them() -> None:
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            list(pool.map(api.restart_space, IDS))

    await asyncio.to_thread(all_of_them)


CONTESTANTS: dict[str, Callable[[str], Awaitable[None]]] = {
    "spaces_async bulk.restart": ours,
    "bare aiohttp, no safety at all": bare_aiohttp,
    f"huggingface_hub, {CONCURRENCY} threads": official,
}


async def measure(url: str) -> None:
    taken: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for number in range(ROUNDS + 1):
        for name, run in CONTESTANTS.items():
            started = time.perf_counter()
            await run(url)
            if number:  # the first round warms up
                taken[name].append(time.perf_counter() - started)
    base = statistics.median(taken["bare aiohttp, no safety at all"])
    print(f"{COUNT} restarts at concurrency {CONCURRENCY}, median of {ROUNDS} rounds")
    for name, times in taken.items():
        median = statistics.median(times)
        print(
            f"{name:32} {median * 1000:7.0f} ms  {median / COUNT * 1e6:6.0f} us a call"
            f"  {median / base:5.2f} x bare aiohttp"
        )


def main() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            asyncio.run(measure(f"http://127.0.0.1:{port}"))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
