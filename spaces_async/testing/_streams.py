"""Streams: logs, stage events, metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from spaces_async.models import SpaceStage
from spaces_async.testing import _render as render
from spaces_async.testing._route import answers
from spaces_async.testing._wire import Call, RefusedError, Reply
from spaces_async.testing.clock import ManualClock

if TYPE_CHECKING:
    from spaces_async.testing._machine import LogLine
    from spaces_async.testing._world import World
    from spaces_async.testing.space import FakeSpace

_Send = Callable[[bytes], Awaitable[None]]
_KEEP_ALIVE = b": keep-alive\n\n"
_MEMORY_BYTES = 15032385536


@answers("GET /api/spaces/{id}/logs/{kind}")
def logs(world: World, call: Call) -> Reply:
    world.require_token(call)
    space = world.readable(call)
    kind, tail = call.params["kind"], call.number("tail")

    async def stream(send: _Send) -> None:
        # The next build or start empties the log. `lines` stays the same list, so
        # `sent` is reset when that happens.
        lines = space.build_log if kind == "build" else space.run_log
        with space.lock:
            seen, present = space.changes, list(lines)
        for line in present[-tail:] if tail else present:
            await send(_log_event(line))
        sent, last = len(present), present[-1] if present else None
        while not (kind == "build" and not space.stage.is_building):
            await _wait_for_change(world, space, send, since=seen)
            with space.lock:
                space.settle()
                seen, present = space.changes, list(lines)
            if len(present) < sent or (sent and present[sent - 1] is not last):
                sent = 0
            for line in present[sent:]:
                await send(_log_event(line))
            sent, last = len(present), present[-1] if present else None

    return Reply.events(stream)


def _log_event(line: LogLine) -> bytes:
    event = {"data": line.text, "timestamp": render.instant(line.timestamp)}
    return f"data: {json.dumps(event)}\n\n".encode()


@answers("GET /api/spaces/{id}/events")
def events(world: World, call: Call) -> Reply:
    """Send every change of the stage."""
    world.require_token(call)
    space = world.readable(call)

    async def stream(send: _Send) -> None:
        seen, stages = space.changes, space.stages
        sent = len(stages)
        await send(_stage_event(stages[-1]))
        if space.requested_hardware == "zero-a10g":
            await send(b"event: zero-gpu-count\ndata: 0\n\n")
        while stages[-1] is not SpaceStage.DELETING:
            await _wait_for_change(world, space, send, since=seen)
            seen, stages = space.changes, space.stages
            for stage in stages[sent:]:
                await send(_stage_event(stage))
            sent = len(stages)

    return Reply.events(stream)


def _stage_event(stage: SpaceStage) -> bytes:
    return f"event: stage\ndata: {stage}\n\n".encode()


@answers("GET /api/spaces/{id}/metrics")
def metrics(world: World, call: Call) -> Reply:
    """Send one measurement a second."""
    world.require_token(call)
    space = world.readable(call)
    if not space.stage.is_running or space.is_static:
        raise RefusedError(406, "Space is stale")

    async def stream(send: _Send) -> None:
        tick = 0
        while space.stage.is_running:
            events = "".join(
                f"event: metric\ndata: {json.dumps(event)}\n\n"
                for event in _measurements(space, tick)
            )
            await send(events.encode())
            tick += 1
            await world.clock.sleep(1.0)

    return Reply.events(stream)


def _measurements(space: FakeSpace, tick: int) -> list[dict[str, Any]]:
    """Return a measurement of each replica."""
    measured: dict[str, Any] = {
        "cpu_usage_pct": tick % 100,
        "cpu_millicores": 2000,
        "memory_used_bytes": 1417216 + tick,
        "memory_total_bytes": _MEMORY_BYTES,
        "rx_bps": 0,
        "tx_bps": 0,
        "gpus": {},
        **(space.load or {}),
    }
    first = space.oid[:5]
    names = [first, *(f"{first}-{number}" for number in range(1, space.replica_count))]
    return [{**measured, "replica": name} for name in names]


async def _wait_for_change(
    world: World, space: FakeSpace, send: _Send, *, since: int
) -> None:
    """Wait until a Space has changed since, and send comments in the meantime."""
    watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    space.watch(watcher, since)
    clock = world.clock
    # With a clock that skips every wait, comments would be sent without end.
    silent = isinstance(clock, ManualClock) and clock.auto
    try:
        while not watcher.done():
            change = space.next_change()
            until_change = None if change is None else max(0.0, change - world.now())
            limit = None if silent else world.options.keep_alive
            waits = [wait for wait in (until_change, limit) if wait is not None]
            if silent and not space.stage.is_transitional:
                waits = []
            await clock.wait_for(watcher, min(waits) if waits else None)
            space.settle()
            due = not watcher.done() and limit is not None
            if due and until_change != min(waits):
                await send(_KEEP_ALIVE)
    finally:
        watcher.cancel()
        space.unwatch(watcher)
