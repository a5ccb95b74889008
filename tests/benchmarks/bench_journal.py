"""What a journal costs: a bulk at full speed with and without one, in turns.

The server is in another process and does nothing but answer, so that all the time is
the client's. Run it with `make bench`.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from spaces_async import ClientSettings, SpacesClient

COUNT = 3000
CONCURRENCY = 64
ROUNDS = 5
SERVER = """
import asyncio
BODY = b'{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"}}'
HEAD = (b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n'
        b'Content-Length: %d\\r\\n\\r\\n' % len(BODY))
class Serve(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write((HEAD + BODY) * data.count(b'\\r\\n\\r\\n'))
async def main():
    server = await asyncio.get_running_loop().create_server(Serve, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
IDS = [f"acme/s{number}" for number in range(COUNT)]


async def restart(url: str, journal: Path | None) -> float:
    settings = ClientSettings(reserve=0.0)
    async with SpacesClient(token="hf_x", endpoint=url, settings=settings) as client:
        started = time.perf_counter()
        report = await client.bulk.restart(
            IDS, concurrency=CONCURRENCY, journal=journal
        )
        taken = time.perf_counter() - started
    assert report.ok
    return taken


async def measure(url: str, folder: Path) -> None:
    without: list[float] = []
    with_one: list[float] = []
    for number in range(ROUNDS + 1):
        plain = await restart(url, None)
        kept = await restart(url, folder / f"{number}.jsonl")
        if number:  # the first round warms up
            without.append(plain)
            with_one.append(kept)
    size = (folder / "0.jsonl").stat().st_size
    print(f"{COUNT} restarts at concurrency {CONCURRENCY}, median of {ROUNDS} rounds")
    base = statistics.median(without)
    for name, times in {"without": without, "with a journal": with_one}.items():
        median = statistics.median(times)
        print(
            f"{name:16} {median * 1000:7.0f} ms  {median / COUNT * 1e6:6.0f} us a call"
            f"  {median / base:5.2f} x"
        )
    print(f"{size / COUNT:.0f} bytes in the journal for each Space")


def main() -> None:
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            asyncio.run(measure(f"http://127.0.0.1:{port}", Path(folder)))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
