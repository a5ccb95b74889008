"""Ctrl-C and SIGTERM: the first loses nothing, the second cancels, the third kills.

Also which event loop a command runs in: uvloop's where it is installed, else asyncio's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable
    from types import FrameType

    from spaces_async.cli._output import Output

__all__ = ["NO_UVLOOP", "loop_factory", "run", "signals_restored"]

T = TypeVar("T")

NO_UVLOOP: Final = "SPACES_ASYNC_NO_UVLOOP"
"""The environment variable with which a command runs in asyncio's own loop."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SAME_PRESS_SECONDS: Final = 1.0
"""More signals within this time count as the same one: people press keys twice."""
_KILLING_SIGNAL_COUNT: Final = 3
_GENTLE_SECONDS_AFTER_SIGTERM: Final = 5.0
"""Who sends a SIGTERM often kills ten seconds later, and a report must be out by then."""


def run(
    work: Coroutine[Any, Any, T],
    output: Output,
    stop: Callable[[], bool] = lambda: False,
) -> T:
    """Run the async part of a command.

    The first signal stops it gently, if it can be: the calls in flight get their
    response. The next one cancels it, so that what was done is still shown; so does the
    first one where nothing can be stopped. asyncio's own handler would raise
    KeyboardInterrupt wherever the second one finds the program, and a call in flight
    would be lost from the report. After a signal, further ones are ignored until
    `signals_restored` is over, since the program is about to end.

    Args:
        work: What to run.
        output: Where to say what goes on.
        stop: Stops the work gently; returns whether it can be stopped so.

    Raises:
        CancelledError: It was interrupted, and has ended.
    """
    counter = _SignalCounter(output, stop)

    async def watched() -> T:
        counter.watch(asyncio.get_running_loop(), asyncio.current_task())
        return await work

    before = _handlers()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            result = runner.run(watched())
        if counter.count:
            raise asyncio.CancelledError
        return result
    finally:
        # When the interpreter shuts down, it replaces any handler but SIG_IGN by the
        # default.
        _install([(n, signal.SIG_IGN) for n in _SIGNALS] if counter.count else before)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop; None is asyncio's own.

    A bulk of thousands of Spaces takes less time in uvloop, and importing it takes only
    3 ms.
    """
    if os.environ.get(NO_UVLOOP):
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class _SignalCounter:
    """Counts the signals so far, and acts on each."""

    def __init__(self, output: Output, stop: Callable[[], bool]) -> None:
        self.count = 0
        self._output = output
        self._stop = stop
        self._is_cancelled = False
        self._is_handling = False
        self._ignore_until = 0.0

    def watch(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None
    ) -> None:
        """Handle the signals from now on; they stop the task, then cancel it."""

        def handle(number: int, _frame: FrameType | None) -> None:
            # Python may run this for a second signal while it runs it for the first. No
            # handler runs between this test and the next line, since nothing is called.
            if self._is_handling:
                return
            self._is_handling = True
            try:
                count(number)
            finally:
                self._is_handling = False

        def count(number: int) -> None:
            now = time.monotonic()
            if now < self._ignore_until or loop.is_closed():
                return
            self._ignore_until = now + _SAME_PRESS_SECONDS
            self.count += 1
            if self.count >= _KILLING_SIGNAL_COUNT:
                self._output.err.show_cursor()
                if self._output.restore is not None:
                    self._output.restore()
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            elif task is not None:
                loop.call_soon_threadsafe(self._act, number, task)

        _install((number, handle) for number in _SIGNALS)

    def _act(self, number: int, task: asyncio.Task[Any]) -> None:
        """Stop or cancel the task, and say what another signal does."""
        if self.count == 1 and self._stop():
            self._output.complain(
                "Waiting for the answers to what is in flight; nothing more is sent."
                " Press Ctrl-C again to cancel."
            )
            if number == signal.SIGTERM:
                loop = asyncio.get_running_loop()
                loop.call_later(_GENTLE_SECONDS_AFTER_SIGTERM, self._cancel, task)
            return
        if self.count > 1:
            self._output.complain(
                "Ending the calls in flight. Press again to end at once, without a"
                " report."
            )
        self._cancel(task)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        if not self._is_cancelled:
            self._is_cancelled = True
            task.cancel()


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
