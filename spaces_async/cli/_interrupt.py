"""Ctrl-C and SIGTERM: the first ends a command in order, the third at once."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from spaces_async.cli._output import Output

__all__ = ["run", "signals_kept", "too_late"]

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_HABIT: Final = 1.0
"""Seconds in which more of the same mean no more than the first."""
_AT_ONCE: Final = 3


def run(work: Coroutine[Any, Any, T], output: Output) -> T:
    """Run the async part of a command.

    The first signal cancels it, so that what was done is still shown. asyncio's own
    handler would raise KeyboardInterrupt wherever the second one finds the program, and
    a call that is under way would be lost from the report.

    Raises:
        CancelledError: It was interrupted, and has ended.
        KeyboardInterrupt: Likewise, where the loop knows no signals (Windows).
    """

    async def watched() -> T:
        task = asyncio.current_task()
        if task is not None:
            presses = _Presses(task.cancel, output)
            loop = asyncio.get_running_loop()
            # Not on Windows, and not outside of the main thread.
            with suppress(NotImplementedError, RuntimeError, ValueError):
                for number in _SIGNALS:
                    loop.add_signal_handler(number, presses.add, number)
        try:
            return await work
        except asyncio.CancelledError:
            too_late()
            raise

    try:
        return asyncio.run(watched())
    except (asyncio.CancelledError, KeyboardInterrupt):
        # Once more: the loop has put the usual handlers back when it was closed.
        too_late()
        raise


class _Presses:
    """The signals so far."""

    def __init__(self, cancel: Callable[[], object], output: Output) -> None:
        self._cancel = cancel
        self._output = output
        self._count = 0
        self._not_before = 0.0

    def add(self, number: signal.Signals) -> None:
        """Do what the next signal means."""
        now = asyncio.get_running_loop().time()
        if now < self._not_before:
            return
        self._not_before = now + _HABIT
        self._count += 1
        if self._count == 1:
            self._cancel()
        elif self._count < _AT_ONCE:
            self._output.complain(
                "Ending what is under way. Once more ends at once, without a report."
            )
        else:
            self._output.err.show_cursor()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def too_late() -> None:
    """Let no signal disturb a program that is about to end anyway."""
    with suppress(ValueError):  # not outside of the main thread
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_kept() -> Generator[None]:
    """Give the program that runs a command its signals back."""
    before = [(number, signal.getsignal(number)) for number in _SIGNALS]
    try:
        yield
    finally:
        with suppress(ValueError):  # not outside of the main thread
            for number, handler in before:
                signal.signal(number, handler)
