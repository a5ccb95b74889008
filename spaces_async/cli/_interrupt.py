"""Ctrl-C and SIGTERM: the first ends a command in order, the third at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterable
    from types import FrameType

    from spaces_async.cli._output import Output

__all__ = ["run", "signals_kept"]

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_HABIT: Final = 1.0
"""Seconds in which more of the same mean no more than the first."""
_AT_ONCE: Final = 3


def run(work: Coroutine[Any, Any, T], output: Output) -> T:
    """Run the async part of a command.

    The first signal cancels it, so that what was done is still shown. asyncio's own
    handler would raise KeyboardInterrupt wherever the second one finds the program, and
    a call that is under way would be lost from the report. After a signal no other one
    disturbs the program, which is about to end, until `signals_kept` is over.

    Raises:
        CancelledError: It was interrupted, and has ended.
    """
    presses = _Presses(output)

    async def watched() -> T:
        presses.watch(asyncio.get_running_loop(), asyncio.current_task())
        return await work

    before = _handlers()
    try:
        return asyncio.run(watched())
    finally:
        # The interpreter's own end puts the default back in place of any other handler.
        _put([(n, signal.SIG_IGN) for n in _SIGNALS] if presses.count else before)


class _Presses:
    """The signals so far."""

    def __init__(self, output: Output) -> None:
        self.count = 0
        self._output = output
        self._not_before = 0.0

    def watch(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None
    ) -> None:
        """Hear the signals from here on; the first one cancels the task."""

        def hear(number: int, _frame: FrameType | None) -> None:
            now = time.monotonic()
            if now < self._not_before or loop.is_closed():
                return
            self._not_before = now + _HABIT
            self.count += 1
            if self.count >= _AT_ONCE:
                self._output.err.show_cursor()
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            elif self.count > 1:
                loop.call_soon_threadsafe(self._say_so)
            elif task is not None:
                loop.call_soon_threadsafe(task.cancel)

        _put((number, hear) for number in _SIGNALS)

    def _say_so(self) -> None:
        self._output.complain(
            "Ending what is under way. Once more ends at once, without a report."
        )


@contextmanager
def signals_kept() -> Generator[None]:
    """Give whoever runs a command its signals back."""
    before = _handlers()
    try:
        yield
    finally:
        _put(before)


def _handlers() -> list[tuple[signal.Signals, Any]]:
    return [(number, signal.getsignal(number)) for number in _SIGNALS]


def _put(handlers: Iterable[tuple[signal.Signals, Any]]) -> None:
    with suppress(ValueError):  # not outside of the main thread
        for number, handler in handlers:
            signal.signal(number, handler)
