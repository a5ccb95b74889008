"""Runs a scene in a loop with virtual time."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
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

    async def run() -> None:
        _let_it_dial(monkeypatch, asyncio.get_running_loop())
        await scene()

    monkeypatch.setattr("async_solipsism.clock.Clock.advance", _advance)
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


def _advance(clock: Any, delta: float) -> None:
    # Rounded to the nearest tick, as it comes, a wait may end before its time. Who
    # waits for the rest of it then (aiohttp's server does) waits for ever.
    clock._ticks += math.ceil(delta / clock.resolution)


def _let_it_dial(monkeypatch: pytest.MonkeyPatch, loop: Any) -> None:
    async def dial(*, addr_infos: Any, **_: Any) -> Any:
        return await loop.aiohappyeyeballs_start_connection(addr_infos)

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", dial)


@contextmanager
def virtual_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Give a loop with virtual time that stands still while nothing runs in it."""
    with (
        pytest.MonkeyPatch.context() as patch,
        asyncio.Runner(debug=False, loop_factory=async_solipsism.EventLoop) as runner,
    ):
        patch.setattr("async_solipsism.clock.Clock.advance", _advance)
        _let_it_dial(patch, runner.get_loop())
        yield runner.get_loop()


def put_disk_in(loop: Any, pool: Executor, *, turns: int) -> None:
    """Let each access to a file take some turns of the loop.

    As a thread, it goes on to its end if what waits for it is cancelled.

    Args:
        loop: The loop whose `run_in_executor` is replaced.
        pool: Does the work, while the loop stands still.
        turns: How many turns of the loop anything takes.
    """

    def in_some_turns(
        _executor: None, work: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = loop.create_future()

        def later(turns: int) -> None:
            if turns:
                loop.call_soon(later, turns - 1)
                return
            try:
                result = pool.submit(work, *arguments).result()
            except Exception as error:  # noqa: BLE001  (given to what waits for it)
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        later(turns)
        return done

    loop.run_in_executor = in_some_turns
