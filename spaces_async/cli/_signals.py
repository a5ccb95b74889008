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

__all__ = ["run", "signals_restored"]

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SAME_PRESS_SECONDS: Final = 1.0
"""More signals within this time count as the same one: people press keys twice."""
_KILLING_SIGNAL_COUNT: Final = 3


def run(work: Coroutine[Any, Any, T], output: Output) -> T:
    """Run the async part of a command.

    The first signal cancels it, so that what was done is still shown. asyncio's own
    handler would raise KeyboardInterrupt wherever the second one finds the program, and
    a call in flight would be lost from the report. After a signal, further ones are
    ignored until `signals_restored` is over, since the program is about to end.

    Raises:
        CancelledError: It was interrupted, and has ended.
    """
    counter = _SignalCounter(output)

    async def watched() -> T:
        counter.watch(asyncio.get_running_loop(), asyncio.current_task())
        return await work

    before = _handlers()
    try:
        return asyncio.run(watched())
    finally:
        # When the interpreter shuts down, it replaces any handler but SIG_IGN by the
        # default.
        _install([(n, signal.SIG_IGN) for n in _SIGNALS] if counter.count else before)


class _SignalCounter:
    """Counts the signals so far, and acts on each."""

    def __init__(self, output: Output) -> None:
        self.count = 0
        self._output = output
        self._ignore_until = 0.0

    def watch(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None
    ) -> None:
        """Handle the signals from now on; the first one cancels the task."""

        def handle(number: int, _frame: FrameType | None) -> None:
            now = time.monotonic()
            if now < self._ignore_until or loop.is_closed():
                return
            self._ignore_until = now + _SAME_PRESS_SECONDS
            self.count += 1
            if self.count >= _KILLING_SIGNAL_COUNT:
                self._output.err.show_cursor()
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            elif self.count > 1:
                loop.call_soon_threadsafe(self._explain)
            elif task is not None:
                loop.call_soon_threadsafe(task.cancel)

        _install((number, handle) for number in _SIGNALS)

    def _explain(self) -> None:
        self._output.complain(
            "Ending the calls in flight. Press again to end at once, without a report."
        )


@contextmanager
def signals_restored() -> Generator[None]:
    """Put the caller's signal handlers back at the end."""
    before = _handlers()
    try:
        yield
    finally:
        _install(before)


def _handlers() -> list[tuple[signal.Signals, Any]]:
    return [(number, signal.getsignal(number)) for number in _SIGNALS]


def _install(handlers: Iterable[tuple[signal.Signals, Any]]) -> None:
    with suppress(ValueError):  # not outside of the main thread
        for number, handler in handlers:
            signal.signal(number, handler)
