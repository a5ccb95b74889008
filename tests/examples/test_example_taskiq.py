"""The workers of taskiq in `examples/`, on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import pytest
from taskiq.api import run_receiver_task

from spaces_async.testing import FakeHub
from tests.support.programs import load_example
from tests.support.redis_server import RedisServer, needs_redis

pytestmark = needs_redis

IDS = [f"acme/s{number}" for number in range(12)]


async def test_workers_share_a_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What runs is paused once, by tasks that taskiq has brought to two workers."""
    server = RedisServer(tmp_path)
    await asyncio.to_thread(server.start)
    async with (
        FakeHub(latency=(0.01, 0.01)) as hub,
        contextlib.AsyncExitStack() as stack,
    ):
        stack.push_async_callback(asyncio.to_thread, server.kill)
        for repo_id in IDS:
            hub.add_space(repo_id, stage="RUNNING")
        hub.add_space("acme/asleep", stage="SLEEPING")
        monkeypatch.setenv("REDIS", f"redis://127.0.0.1:{server.port}")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        for _ in range(2):
            broker = load_example("taskiq_workers").broker
            broker.is_worker_process = True
            receiver = asyncio.create_task(run_receiver_task(broker, run_startup=True))
            stack.push_async_callback(broker.shutdown)
            stack.push_async_callback(asyncio.wait, [receiver])
            stack.callback(receiver.cancel)
        assert await load_example("taskiq_workers").night("acme") == 0
        told = capsys.readouterr().out.splitlines()
        assert told[0].startswith("pause: 12 done")
        assert len(told) == 4
        writes = Counter(r.path for r in hub.requests if r.method == "POST")
        assert writes == {f"/api/spaces/{repo_id}/pause": 1 for repo_id in IDS}
        # The run of that night is over: a second start finds its report.
        assert await load_example("taskiq_workers").night("acme") == 0
        assert capsys.readouterr().out.startswith("pause: 12 done")
        assert sum(r.method == "POST" for r in hub.requests) == len(IDS)
