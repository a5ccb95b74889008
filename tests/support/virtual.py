"""Runs a scene in a loop with virtual time."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohappyeyeballs
import async_solipsism  # type: ignore[import-untyped]
import pytest

from spaces_async._clock import Clock

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock(Clock):
    """The loop's time, and a wall clock that goes with it."""

    def utcnow(self) -> datetime:
        """Return the start plus the loop's seconds."""
        return _START + timedelta(seconds=self.monotonic())


def play(
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[], Coroutine[Any, Any, None]],
    *,
    measured: bool = False,
) -> None:
    """Run a scene; waits take no time, and everything comes in the same order.

    Debug mode is off: it keeps a stack for each task and handle.

    Args:
        monkeypatch: Of the test.
        scene: What is run.
        measured: Whether coverage is taken, which takes as long again. Of long scenes
            it is not: their lines are run elsewhere, too.
    """

    def advance(clock: Any, delta: float) -> None:
        # Rounded to the nearest tick, as it comes, a wait may end before its time. Who
        # waits for the rest of it then (aiohttp's server does) waits for ever.
        clock._ticks += math.ceil(delta / clock.resolution)

    async def run() -> None:
        loop: Any = asyncio.get_running_loop()

        async def dial(*, addr_infos: Any, **_: Any) -> Any:
            return await loop.aiohappyeyeballs_start_connection(addr_infos)

        monkeypatch.setattr(aiohappyeyeballs, "start_connection", dial)
        await scene()

    monkeypatch.setattr("async_solipsism.clock.Clock.advance", advance)
    traced = sys.gettrace()
    if not measured:
        sys.settrace(None)
    try:
        with asyncio.Runner(
            debug=False, loop_factory=async_solipsism.EventLoop
        ) as runner:
            runner.run(run())
    finally:
        sys.settrace(traced)
