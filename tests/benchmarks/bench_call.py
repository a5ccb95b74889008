"""What one safe, typed call costs, as a ratio to bare aiohttp that makes the same record.

CPU time of this process only, so that a busy machine spoils little: the server is
another process, and the contestants take turns in short blocks. Run it with `make bench`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import aiohttp
import cattrs

from spaces_async import ClientSettings, SpacesClient
from spaces_async.models import (
    SpaceHardware,
    SpaceRuntime,
    SpaceSdk,
    SpaceStage,
    SpaceStorage,
    VolumeType,
)

BLOCK = 20
BLOCKS = int(os.environ.get("BENCH_BLOCKS", "200"))
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
RENAMED = {"gcTimeout": "sleep_time", "devMode": "dev_mode"}

converter = cattrs.Converter()
for word in (SpaceStage, SpaceHardware, SpaceSdk, SpaceStorage):
    converter.register_structure_hook(word, lambda text, kind: kind(text))
for scalar in (bool | str | None, int | Literal["auto"] | None):
    converter.register_structure_hook(scalar, lambda value, _: value)
converter.register_structure_hook(VolumeType, lambda text, _: text)
Call = Callable[[], Awaitable[object]]


def record(data: dict[str, object]) -> SpaceRuntime:
    """Make the record as a program without this package would."""
    hardware = data.pop("hardware") or {}
    assert isinstance(hardware, dict)
    flat = {RENAMED.get(key, key): value for key, value in data.items()}
    flat["hardware"] = hardware.get("current")
    flat["requested_hardware"] = hardware.get("requested")
    return converter.structure(flat, SpaceRuntime)


def contestants(
    session: aiohttp.ClientSession, client: SpacesClient, url: str
) -> dict[str, tuple[Call, Call]]:
    """Return the bare call and ours, of each kind."""
    base = f"{url}/api/spaces/acme/demo"

    async def bare_get() -> SpaceRuntime:
        async with session.get(f"{base}/runtime") as response:
            response.raise_for_status()
            return record(await response.json())

    async def bare_post() -> SpaceRuntime:
        async with session.post(f"{base}/restart") as response:
            response.raise_for_status()
            return record(await response.json())

    lifecycle = client.lifecycle
    return {
        "lifecycle.get_runtime": (bare_get, lambda: lifecycle.get_runtime("acme/demo")),
        "lifecycle.restart": (bare_post, lambda: lifecycle.restart("acme/demo")),
    }


async def block(call: Call) -> float:
    """Return the CPU seconds of one call, as the mean of some."""
    started = time.process_time()
    for _ in range(BLOCK):
        await call()
    return (time.process_time() - started) / BLOCK


async def measure(url: str) -> None:
    headers = {"Authorization": "Bearer hf_x"}
    settings = ClientSettings(reserve=0.0)
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        SpacesClient(token="hf_x", endpoint=url, settings=settings) as client,
    ):
        pairs = contestants(session, client, url)
        taken = {name: ([], []) for name in pairs}  # type: dict[str, tuple[list[float], list[float]]]
        for number in range(BLOCKS + 2):
            for name, (bare, ours) in pairs.items():
                both = await block(bare), await block(ours)
                if number >= 2:  # the first rounds warm up
                    taken[name][0].append(both[0])
                    taken[name][1].append(both[1])
    print(f"CPU time of a call, median of {BLOCKS} blocks of {BLOCK}")
    for name, (bare_times, our_times) in taken.items():
        base, mine = statistics.median(bare_times), statistics.median(our_times)
        ratios = [ours / bare for bare, ours in zip(bare_times, our_times, strict=True)]
        print(
            f"{name:24} bare {base * 1e6:6.1f} us  ours {mine * 1e6:6.1f} us"
            f"  {mine / base:5.2f} x (of pairs: {statistics.median(ratios):5.2f} x)"
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
