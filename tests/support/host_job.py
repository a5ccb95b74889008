"""Hosts of a run in processes of their own, for tests that kill and stop them.

Reads one job a line as JSON, forks for it, so that only the first waits for the imports,
and prints the process id. Each claim is written down before anything is sent under it. A
process that ends by itself leaves a report in its file.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from spaces_async import ClientSettings, SpacesClient
from spaces_async._clock import Clock
from spaces_async.bulk import BulkReport, operations
from spaces_async.bulk._store.redis_store import RedisStore
from spaces_async.client import USED_BY_CALLS

OPERATIONS = {
    "restart": operations.restart(),
    "factory": operations.restart(factory_reboot=True),
    "pause": operations.pause(),
    "sleep": operations.set_sleep_time(600),
}

NETWORK = 0x4000_0000
"""CLONE_NEWNET"""


def tell_claims(job: dict[str, Any]) -> None:
    """Write each claim to a file that all hosts share: the host, and the Spaces."""
    claims = os.open(job["claims"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    claim = RedisStore.claim

    async def told(*arguments: Any, **options: Any) -> Any:
        block = await claim(*arguments, **options)
        if block is not None:
            line = json.dumps([job["host"], list(block.entries)])
            os.write(claims, f"{line}\n".encode())
        return block

    RedisStore.claim = told  # type: ignore[method-assign]


def enter(namespace: str) -> None:
    """Let this process, which has one thread yet, be in a network namespace."""
    # `os.setns` came with Python 3.12.
    system = ctypes.CDLL(None, use_errno=True)
    with Path(f"/var/run/netns/{namespace}").open(encoding="ascii") as found:
        if system.setns(found.fileno(), NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "setns", namespace)


class WrongClock(Clock):
    """A wall clock that is some seconds off."""

    def __init__(self, off: float) -> None:
        self._off = timedelta(seconds=off)

    def utcnow(self) -> datetime:
        return super().utcnow() + self._off


async def work(job: dict[str, Any]) -> BulkReport[Any]:
    """Begin a run, or work on one."""
    settings = ClientSettings(user_agent=job["host"], allow_insecure_http=True)
    options = {"concurrency": job["concurrency"], "max_outage": job["max_outage"]}
    async with SpacesClient(
        token=job["token"],
        endpoint=job["endpoint"],
        settings=settings,
        clock=WrongClock(job["off"]),
    ) as client:
        if "operation" not in job:
            return await client.bulk.work(job["store"], **options)
        return await client.bulk.run(
            OPERATIONS[job["operation"]],
            job["ids"],
            store=job["store"],
            lease=job["lease"],
            **options,
        )


def prepare() -> None:
    """Do once what each host would do first: import what a run needs."""
    SpacesClient(token="hf_x", endpoint="http://127.0.0.1:1")
    for name in (*USED_BY_CALLS, "spaces_async.bulk._engine.joining"):
        import_module(name)
    gc.freeze()


def main() -> None:
    prepare()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for them
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.settrace(None)  # Coverage would take most of the time.
            job = json.loads(line)
            try:
                if job["namespace"] is not None:
                    enter(job["namespace"])
                tell_claims(job)
                told: dict[str, Any] = asyncio.run(work(job)).to_dict()
            except BaseException as error:  # noqa: BLE001  (this process ends here)
                told = {"error": f"{type(error).__name__}: {error}"}
            written = Path(f"{job['report']}.new")
            written.write_text(json.dumps(told), encoding="utf-8")
            written.rename(job["report"])
            os._exit(0)
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
