"""2,000 calls against a quota of 500 in 300 seconds, in virtual time: nothing waits.

Prints, for one program and for several with the same token, how long it took beside the
best schedule and how many calls were refused (429): for this client, and for the same
number of bare aiohttp tasks that wait out each refusal by themselves, one second longer
than the Hub says, as the official client does for reads. Run it with `make bench`.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import aiohttp
import pytest

# Run as a script, this file's folder is on the path, and not the project's.
sys.path.insert(0, str(Path(__file__).parents[2]))

from spaces_async.testing import FakeHub
from tests.support import pacing
from tests.support.pacing import Load, Result, seeded

TOO_MANY = 429


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
                if response.status != TOO_MANY:
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


def show(name: str, load: Load, result: Result) -> None:
    start = f"{load.reset:g} s to the first reset, {load.used} used, t {load.round_t}"
    sys.stdout.write(
        f"{name:<34} {load.programs} x {load.concurrency:<3} {start:<44}"
        f" {result.seconds:7.1f} s  {result.ratio:.4f} ({result.ratio_of_workers:.4f})"
        f"  {result.refused:5} refused\n"
    )


def main() -> None:
    sys.stdout.write(
        "time; multiple of the best schedule (of the best with so many workers); 429s\n"
    )
    for reset, round_t, used in (
        (300.0, "ceil", 0),
        (300.0, "floor", 0),
        (123.0, "ceil", 0),
        (123.0, "floor", 450),
        (17.3, "ceil", 0),
    ):
        load = Load(reset=reset, round_t=round_t, used=used)  # type: ignore[arg-type]
        show("spaces_async, alone", load, seeded(load))
    for programs in (2, 4, 8):
        with tempfile.TemporaryDirectory() as folder:
            ledger = Path(folder) / "ledger"
            for name, load in (
                ("spaces_async, greedy", Load(programs=programs)),
                ("spaces_async, strict", Load(programs=programs, sharing="strict")),
                ("spaces_async, ledger", Load(programs=programs, ledger=ledger)),
            ):
                show(name, load, seeded(load))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing, "one_program", bare)
        for programs in (1, 4):
            load = Load(programs=programs)
            show("aiohttp, each waits t + 1", load, seeded(load))


if __name__ == "__main__":
    main()
